# SPDX-License-Identifier: Apache-2.0
# The version in full: the project's, and in a git tree how many commits it is past its tag (past the
# beginning when there is no tag) and which one: 0.1.0+12.gabcdef0, with .dirty when files differ.
#   cmake -DPROJECT=0.1.0 -DSOURCE=<tree> [-DOUT=<version.h>] -P version.cmake
# Included: sets MILLRACE_FULL_VERSION, and MILLRACE_COMMIT_TIME (seconds since 1970, or now).
function(git_says variable)
	execute_process(COMMAND git -C ${SOURCE} ${ARGN} OUTPUT_VARIABLE text ERROR_QUIET
		RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
	if(status)
		set(text "")
	endif()
	set(${variable} "${text}" PARENT_SCOPE)
endfunction()

set(MILLRACE_FULL_VERSION ${PROJECT})
string(TIMESTAMP MILLRACE_COMMIT_TIME "%s" UTC)
if(EXISTS ${SOURCE}/.git)
	git_says(MILLRACE_COMMIT_TIME log -1 --format=%ct)
	git_says(tagged describe --tags --match v${PROJECT} --long --dirty=.dirty)
	git_says(hash describe --always --exclude * --dirty=.dirty)
	git_says(count rev-list --count HEAD)
	if(tagged MATCHES "-([0-9]+)-g[0-9a-f]+(.dirty)?$")
		set(count ${CMAKE_MATCH_1})
	endif()
	if(hash AND NOT (tagged MATCHES "-0-g[0-9a-f]+$"))
		set(MILLRACE_FULL_VERSION ${PROJECT}+${count}.g${hash})
	endif()
endif()

if(OUT)
	set(text "#define MILLRACE_FULL_VERSION \"${MILLRACE_FULL_VERSION}\"\n")
	set(old "")
	if(EXISTS ${OUT})
		file(READ ${OUT} old)
	endif()
	if(NOT text STREQUAL old)
		file(WRITE ${OUT} "${text}")
	endif()
endif()
