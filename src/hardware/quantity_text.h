// Quantities as text that reads back to the same bits: what plan files and profiles hold. The unit
// is the largest in which the text is shortest; the base unit always is exact.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/units.h"

namespace narrows {

std::string exact_text(Bytes size);          // "80 GB", "79.109375 GiB"
std::string exact_text(Bandwidth rate);      // "3.35 TB/s"
std::string exact_text(FlopRate rate);       // "989.4 TFLOP/s"
std::string exact_text(Frequency rate);      // "1830 MHz"
std::string exact_text(Seconds time);        // "3.7 us"
std::string exact_text(Watts power);         // "700 W"
std::string exact_text(Area area);           // "814 mm2"
std::string exact_text(Dollars amount);      // "270000 USD"
std::string exact_text(PricePerTime price);  // "2 USD/h"

}  // namespace narrows
