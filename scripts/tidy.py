#!/usr/bin/env python3
# placeholder replaced by the CI helper before landing
import sys
sys.exit(0)
