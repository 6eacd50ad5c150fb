/* SPDX-License-Identifier: Apache-2.0
 *
 * Every actor type of the three programs, by the test program that brings it back in another process
 * (tests/unit/successor.h). programs_restore_test.c compares these rows with what the programs know,
 * each test program its own with what it has really written down.
 *
 * ROW(type, same): `same` is the test's function for a type that begins some of its state anew;
 * NULL = what it writes down again are the same bytes.
 */
#ifndef MILLRACE_RESTORE_ROWS_H
#define MILLRACE_RESTORE_ROWS_H

#define RESTORED_BY_SIM(ROW)                 \
	ROW(media_office_actor, NULL)        \
	ROW(stream_actor, NULL)              \
	ROW(rtmp_office_actor, NULL)         \
	ROW(rtmp_session_actor, NULL)        \
	ROW(http_office_actor, NULL)         \
	ROW(http_connection_actor, NULL)     \
	ROW(flv_mux_actor, NULL)             \
	ROW(callback_office_actor, NULL)     \
	ROW(callback_actor, NULL)            \
	ROW(callback_ticket_actor, NULL)     \
	ROW(store_local_actor, NULL)         \
	ROW(directory_actor, same_to_people) \
	ROW(placement_actor, same_to_people)

#define RESTORED_BY_WEBRTC(ROW)        \
	ROW(rtc_port_actor, same_port) \
	ROW(session_actor, NULL)

#define RESTORED_BY_HTTP(ROW) ROW(signal_channel_actor, NULL)

#define RESTORED_BY_TRANSCODE(ROW)        \
	ROW(transcode_office_actor, NULL) \
	ROW(transcoder_actor, same_transcoder)

#define RESTORED_BY_CLUSTER(ROW)     \
	ROW(console_actor, NULL)     \
	ROW(repl_actor, same_repl)   \
	ROW(board_actor, same_board) \
	ROW(process_office_actor, NULL)

#define RESTORED_BY_MESH(ROW) ROW(mesh_actor, same_mesh)

#define RESTORED_BY_BRAIN(ROW)       \
	ROW(brain_actor, same_brain) \
	ROW(routes_actor, same_routes)

#define RESTORED_BY_LINK(ROW)        \
	ROW(link_office_actor, NULL) \
	ROW(media_link_actor, NULL)

#define RESTORED_BY_RELAY(ROW) ROW(relay_actor, same_relay)

#define RESTORED_BY_ETCD(ROW) ROW(store_etcd_actor, NULL)

#define RESTORED_BY_SETTINGS(ROW) ROW(settings_actor, NULL)

#endif
