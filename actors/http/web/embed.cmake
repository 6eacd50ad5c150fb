# SPDX-License-Identifier: Apache-2.0
# Turns the console's files into one C table (see actors/http/web_assets.h).
#   cmake -DWEB=<this folder> -DWORK=<scratch folder> -DOUT=<file.c> -P embed.cmake
# Libraries come from npm by the committed lock file, into the scratch folder, when it changed.
cmake_minimum_required(VERSION 3.25)

# file|path it is served at; the content type follows from the file's extension. Our own files are
# served at the root, index.html as the page itself, and so is the client that other pages load.
file(GLOB own RELATIVE "${WEB}" "${WEB}/*.js" "${WEB}/*.css" "${WEB}/*.svg")
set(assets "${WEB}/index.html|/")
foreach(name ${own})
	list(APPEND assets "${WEB}/${name}|/${name}")
endforeach()
set(npm "${WORK}/node_modules")
list(APPEND assets
	"${WEB}/../client/millrace.js|/millrace.js"
	"${WEB}/../client/millrace_ws.js|/millrace_ws.js"
	"${WEB}/../client/millrace.d.ts|/millrace.d.ts"
	"${npm}/mpegts.js/dist/mpegts.js|/vendor/mpegts.js"
	"${npm}/uplot/dist/uPlot.esm.js|/vendor/uplot.js"
	"${npm}/uplot/dist/uPlot.min.css|/vendor/uplot.css"
	"${npm}/@xterm/xterm/lib/xterm.js|/vendor/xterm.js"
	"${npm}/@xterm/xterm/css/xterm.css|/vendor/xterm.css")
set(type_.html "text/html; charset=utf-8")
set(type_.css "text/css; charset=utf-8")
set(type_.js "text/javascript; charset=utf-8")
set(type_.ts "text/plain; charset=utf-8")
set(type_.svg "image/svg+xml")

function(install_libraries)
	file(SHA256 "${WEB}/package-lock.json" lock)
	set(stamp "${WORK}/installed")
	if(EXISTS "${stamp}")
		file(READ "${stamp}" installed)
		if(installed STREQUAL lock)
			return()
		endif()
	endif()
	find_program(npm_program npm)
	if(NOT npm_program)
		message(FATAL_ERROR "npm is needed for the console page: apt-get install npm")
	endif()
	file(MAKE_DIRECTORY "${WORK}")
	file(COPY "${WEB}/package.json" "${WEB}/package-lock.json" DESTINATION "${WORK}")
	execute_process(COMMAND ${npm_program} ci --ignore-scripts --no-audit --no-fund
		WORKING_DIRECTORY "${WORK}" RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
	if(failed)
		message(FATAL_ERROR "npm ci failed in ${WORK}:\n${said}")
	endif()
	file(WRITE "${stamp}" "${lock}")
endfunction()

# Appends an array of the file's bytes to the C text in the caller's `text`.
function(append_bytes name file)
	file(READ "${file}" hex HEX)
	string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
	string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
	string(APPEND text "static const uint8_t ${name}[] = {\n${hex}\n};\n")
	set(text "${text}" PARENT_SCOPE)
endfunction()

install_libraries()
find_program(gzip gzip REQUIRED)
set(text "/* Made by embed.cmake. */\n#include \"actors/http/web_assets.h\"\n\n")
set(rows "")
set(index 0)
foreach(asset ${assets})
	string(REGEX REPLACE "\\|.*" "" file "${asset}")
	string(REGEX REPLACE ".*\\|" "" path "${asset}")
	get_filename_component(extension "${file}" LAST_EXT)
	file(SHA256 "${file}" digest)
	string(SUBSTRING "${digest}" 0 16 etag)
	set(packed "${WORK}/asset${index}.gz")
	execute_process(COMMAND ${gzip} -9 -n -c "${file}" OUTPUT_FILE "${packed}" COMMAND_ERROR_IS_FATAL ANY)
	append_bytes("plain${index}" "${file}")
	append_bytes("gzip${index}" "${packed}")
	string(APPEND rows "\t{\"${path}\", \"${type_${extension}}\", \"\\\"${etag}\\\"\", "
		"\"\\\"${etag}-gz\\\"\", plain${index}, sizeof(plain${index}), "
		"gzip${index}, sizeof(gzip${index})},\n")
	math(EXPR index "${index} + 1")
endforeach()
string(APPEND text "\nconst struct web_asset web_assets[] = {\n${rows}};\n"
	"const size_t web_asset_count = ${index};\n")
file(WRITE "${OUT}" "${text}")
