# narrows_embed(<target> <namespace-name> <files...>) compiles text files into the target, so that the program needs no
# file beside itself. Each file becomes a {path, content} pair of `narrows::embedded::<name>()`; the path is relative to
# the repository root.
function(narrows_embed target name)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.cc)
  set(list_file ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.txt)
  list(JOIN ARGN "\n" joined)
  file(GENERATE OUTPUT ${list_file} CONTENT "${joined}\n")
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DLIST=${list_file} -DNAME=${name} -DROOT=${CMAKE_SOURCE_DIR} -DOUT=${generated}
            -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${ARGN} ${list_file} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    COMMENT "Embedding ${name}")
  target_sources(${target} PRIVATE ${generated})
endfunction()
