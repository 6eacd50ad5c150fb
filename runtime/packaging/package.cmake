# SPDX-License-Identifier: Apache-2.0
# The Debian package, by CPack (`./dev package`). What can be written from the program's own tables is:
# manual page, completion and configuration file come from `millrace help`.
set(PROJECT ${PROJECT_VERSION})
set(SOURCE ${CMAKE_SOURCE_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/version.cmake)

set(PAPERS ${CMAKE_BINARY_DIR}/papers)
set(MAINTAINER "Millrace maintainers <maintainers@millrace.invalid>")
file(MAKE_DIRECTORY ${PAPERS})
set(ENV{SOURCE_DATE_EPOCH} ${MILLRACE_COMMIT_TIME})
string(TIMESTAMP MILLRACE_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/changelog.in ${PAPERS}/changelog @ONLY)

add_custom_command(OUTPUT ${PAPERS}/millrace.1.gz ${PAPERS}/millrace.bash ${PAPERS}/millrace.yaml
		${PAPERS}/changelog.gz
	COMMAND millrace help man > millrace.1
	COMMAND millrace help completion > millrace.bash
	COMMAND millrace help config > millrace.yaml
	COMMAND gzip -9nkf millrace.1 changelog
	DEPENDS millrace ${PAPERS}/changelog WORKING_DIRECTORY ${PAPERS} VERBATIM)
add_custom_target(papers ALL DEPENDS ${PAPERS}/millrace.1.gz)

install(TARGETS millrace RUNTIME DESTINATION bin)
install(FILES ${PAPERS}/millrace.1.gz DESTINATION share/man/man1)
install(FILES ${PAPERS}/millrace.bash DESTINATION share/bash-completion/completions RENAME millrace)
install(FILES ${PAPERS}/changelog.gz runtime/packaging/debian/copyright DESTINATION share/doc/millrace)
install(FILES runtime/packaging/debian/lintian-overrides DESTINATION share/lintian/overrides RENAME millrace)
install(FILES ${PAPERS}/millrace.yaml DESTINATION /etc/millrace
	PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
install(FILES runtime/packaging/millrace.service DESTINATION /lib/systemd/system)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME millrace)
set(CPACK_PACKAGE_VERSION ${MILLRACE_FULL_VERSION})
set(CPACK_SET_DESTDIR ON) # files beside the prefix: /etc, /lib
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "real-time media network: publish once, play anywhere
A node takes live streams by WebRTC (WHIP) or RTMP and plays them by WebRTC
(WHEP) or HTTP-FLV in well under a second. It is made of actors in worker
processes that are started again when they die.

Comes with a systemd service, a console in the browser and on the terminal,
and a load generator.")
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
foreach(library avcodec avutil swresample) # loaded by helpers, not linked: nothing finds them by itself
	string(REGEX MATCH "^[0-9]+" major ${libav_lib${library}_VERSION})
	string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", lib${library}${major}")
endforeach()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(script conffiles postinst prerm postrm)
	list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/${script})
endforeach()
include(CPack)
