/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP as a client (runtime/net_http.h) over libcurl's multi interface: curl says which descriptors
 * it waits for, they join our epoll, and nothing here waits. Names are looked up by curl's resolver
 * threads, which see no signals and are never waited for. Set up with the first request: a process
 * that asks nobody has none of it.
 *
 * Mail to actors may end an actor (no memory), which cancels what it had open, while curl is on the
 * stack: a cancelled transfer is only marked, and freed from the loop.
 */
#include "runtime/live_internal.h"
#include "runtime/net_http.h"

#include <curl/curl.h>
#include <stdlib.h>

enum {
	CONNECT_MS = 10000,
	CONNECTIONS_KEPT = 64, /* idle, for the next request to the same server */
	BODY_FIRST = 4096,     /* bytes; doubles */
};

struct transfer {
	CURL *easy; /* NULL: free */
	struct live *live;
	struct curl_slist *lines;
	uint64_t id;	/* 0 = cancelled */
	uint64_t owner; /* actor */
	uint64_t read;	/* of a stream: the request that waits for a piece; 0 = none */
	uint32_t body_max;
	bool stream, redirects;
	bool answered; /* a stream: its head was given */
	bool paused;
	bool done; /* a stream: `why` it ended waits for a reader */
	uint8_t why;
	uint32_t head_size, body_size, body_capacity;
	char *head; /* NET_HTTP_HEAD_MAX bytes */
	char *body;
	char text[CURL_ERROR_SIZE];
};

struct live_http {
	CURLM *multi;
	int64_t due_us;
	uint32_t open, cancelled;
	struct transfer transfers[NET_HTTP_FLIGHT_MAX];
};

/* ---- transfers ----------------------------------------------------------------------------- */

static void free_transfer(struct live_http *http, struct transfer *t)
{
	if (t->easy) {
		curl_multi_remove_handle(http->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
	curl_slist_free_all(t->lines);
	free(t->head);
	free(t->body);
	*t = (struct transfer){0};
	http->open--;
}

static void cancel(struct live_http *http, struct transfer *t)
{
	t->id = t->owner = t->read = 0;
	http->cancelled++;
}

static enum err error_of(const struct transfer *t, CURLcode code)
{
	if (t->why)
		return (enum err)t->why;
	switch (code) {
	case CURLE_OK: return ERR_OK;
	case CURLE_COULDNT_RESOLVE_HOST: return ERR_NOT_FOUND;
	case CURLE_COULDNT_CONNECT: return ERR_DEAD;
	case CURLE_OPERATION_TIMEDOUT: return ERR_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY: return ERR_FORMAT;
	case CURLE_OUT_OF_MEMORY: return ERR_NO_MEMORY;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM: return ERR_CRYPTO;
	default: return ERR_IO;
	}
}

/* ---- what comes back ----------------------------------------------------------------------- */

static void give_response(struct live *live, struct transfer *t)
{
	struct msg_http_response response = {
		.headers = {t->head, t->head_size},
		.body = {t->body, t->body_size},
		.stream = t->stream ? t->id : 0,
	};
	long status = 0;
	char *url = NULL;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
	response.status = (uint16_t)status;
	if (url && strlen(url) <= NET_HTTP_URL_MAX)
		response.url = (struct slice){url, (uint32_t)strlen(url)};
	t->answered = true;
	runtime_http_response(live->rt, t->id, &response);
}

/* Of a stream whose end has come, to whoever reads it. */
static void give_end(struct live *live, struct transfer *t)
{
	if (t->why)
		runtime_http_failed(live->rt, t->read, (enum err)t->why, t->text);
	else
		runtime_http_piece(live->rt, t->read, &(struct msg_http_piece){.end = true});
	if (t->id)
		cancel(live->http, t);
}

/* A head that is not the last one: 1xx, or a redirect that curl follows. */
static bool more_heads_come(const struct transfer *t)
{
	const struct msg_http_response head = {
		.headers = {t->head, t->head_size}
	  };
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return status < 200 || (t->redirects && status >= 300 && status < 400 &&
				       net_http_header(&head, "location").size);
}

static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t length = size * count;

	if (!t->id)
		return 0;
	if (length >= 5 && !memcmp(bytes, "HTTP/", 5)) {
		t->head_size = 0;
		return length;
	}
	if (length <= 2) { /* the empty line at the end */
		if (t->stream && !more_heads_come(t))
			give_response(t->live, t);
		return length;
	}
	if (length > NET_HTTP_HEAD_MAX - t->head_size) {
		t->why = ERR_TOO_LARGE;
		return 0;
	}
	memcpy(t->head + t->head_size, bytes, length);
	t->head_size += (uint32_t)length;
	return length;
}

static bool make_room(struct transfer *t, size_t size)
{
	uint32_t capacity = t->body_capacity ? t->body_capacity : BODY_FIRST;
	char *body;

	while (capacity < size)
		capacity *= 2;
	if (capacity == t->body_capacity)
		return true;
	body = realloc(t->body, capacity);
	if (!body)
		return false;
	t->body = body;
	t->body_capacity = capacity;
	return true;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t length = size * count;

	if (!t->id)
		return 0;
	if (t->stream) {
		uint64_t read = t->read;

		if (!read || length > NET_HTTP_PIECE_MAX) {
			t->paused = true;
			return CURL_WRITEFUNC_PAUSE;
		}
		t->read = 0;
		runtime_http_piece(t->live->rt, read,
			&(struct msg_http_piece){
				.bytes = {bytes, (uint32_t)length}
		  });
		return length;
	}
	if (length > t->body_max - t->body_size)
		t->why = ERR_TOO_LARGE;
	else if (!make_room(t, t->body_size + length))
		t->why = ERR_NO_MEMORY;
	if (t->why)
		return 0;
	memcpy(t->body + t->body_size, bytes, length);
	t->body_size += (uint32_t)length;
	return length;
}

static void finish(struct live *live, struct transfer *t, CURLcode code)
{
	t->why = (uint8_t)error_of(t, code);
	if (t->why && !t->text[0])
		text_copy(t->text, sizeof(t->text),
			t->why == ERR_TOO_LARGE ? "the answer is larger than asked for"
						: curl_easy_strerror(code));
	if (t->stream && t->answered) {
		t->done = true;
		if (t->read)
			give_end(live, t);
		return;
	}
	if (t->why)
		runtime_http_failed(live->rt, t->id, (enum err)t->why, t->text);
	else
		give_response(live, t);
	if (t->id)
		cancel(live->http, t);
}

/* ---- curl and our loop --------------------------------------------------------------------- */

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
	struct live *live = context;
	struct epoll_event event = {.data.u64 = (uint64_t)(uint32_t)fd << 32 | LIVE_TAG_HTTP};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(live->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (!known)
		curl_multi_assign(live->http->multi, fd, live);
	return epoll_ctl(live->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) ? -1 : 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct live *live = context;

	(void)multi;
	live->http->due_us =
		timeout_ms < 0 ? INT64_MAX : live_now_us() + (int64_t)timeout_ms * 1000;
	return 0;
}

static enum err open_http(struct live *live)
{
	struct live_http *http = calloc(1, sizeof(*http));

	if (!http)
		return ERR_NO_MEMORY;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(http->multi = curl_multi_init())) {
		free(http);
		return ERR_NO_MEMORY;
	}
	http->due_us = INT64_MAX;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, live);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, live);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
	live->http = http;
	return ERR_OK;
}

void live_http_close(struct live *live)
{
	struct live_http *http = live->http;

	for (size_t i = 0; http && i < NET_HTTP_FLIGHT_MAX; i++)
		if (http->transfers[i].easy)
			free_transfer(http, &http->transfers[i]);
	if (http) {
		curl_multi_cleanup(http->multi);
		curl_global_cleanup();
	}
	free(http);
	live->http = NULL;
}

void live_http_event(struct live *live, int fd, uint32_t events)
{
	int running, seen = 0;

	if (!live->http)
		return;
	if (events & EPOLLIN)
		seen |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		seen |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		seen |= CURL_CSELECT_ERR;
	curl_multi_socket_action(live->http->multi, fd, seen, &running);
}

int64_t live_http_due_us(const struct live *live)
{
	return live->http ? live->http->due_us : INT64_MAX;
}

void live_http_run(struct live *live)
{
	struct live_http *http = live->http;
	CURLMsg *message;
	int running, left;

	if (!http)
		return;
	if (http->due_us <= live_now_us()) {
		http->due_us = INT64_MAX;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct transfer *t = NULL;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		if (message->msg == CURLMSG_DONE && t->id)
			finish(live, t, message->data.result);
	}
	for (size_t i = 0; http->cancelled && i < NET_HTTP_FLIGHT_MAX; i++) {
		if (http->transfers[i].easy && !http->transfers[i].id) {
			free_transfer(http, &http->transfers[i]);
			http->cancelled--;
		}
	}
}

/* ---- what actors ask ----------------------------------------------------------------------- */

static bool add_line(struct transfer *t, const char *line)
{
	struct curl_slist *lines = curl_slist_append(t->lines, line);

	if (lines)
		t->lines = lines;
	return lines != NULL;
}

static enum err set_headers(struct transfer *t, const struct net_http_request *what)
{
	/* a server that does not know 100-continue costs a second */
	bool good = add_line(t, "Expect:");

	for (size_t i = 0; good && i < NET_HTTP_HEADERS_MAX && what->headers[i]; i++) {
		if (strpbrk(what->headers[i], "\r\n"))
			return ERR_FORMAT;
		good = add_line(t, what->headers[i]);
	}
	if (good)
		curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->lines);
	return good ? ERR_OK : ERR_NO_MEMORY;
}

static void set_method(CURL *easy, const struct net_http_request *what)
{
	const char *method = what->method ? what->method : "GET";
	bool post = !strcmp(method, "POST");

	if (post || what->body_size) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)what->body_size);
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, what->body_size ? what->body : "");
	}
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (!post) /* (a redirect keeps a method that is set by hand) */
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_manners(struct transfer *t, const struct net_http_request *what)
{
	CURL *easy = t->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->text);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver thread */
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)NET_HTTP_PIECE_MAX);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, (long)what->redirects);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)NET_HTTP_HOPS_MAX);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, (long)!what->insecure);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, what->insecure ? 0L : 2L);
	if (what->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, what->ca_file);
	if (what->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, what->cert_file);
	if (what->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, what->key_file);
}

static struct transfer *find(struct live_http *http, uint64_t owner, uint64_t id)
{
	for (size_t i = 0; http && id && i < NET_HTTP_FLIGHT_MAX; i++) {
		struct transfer *t = &http->transfers[i];

		if (t->easy && t->owner == owner && (t->id == id || t->read == id))
			return t;
	}
	return NULL;
}

enum err live_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	struct live *live = context;
	enum err err = live->http ? ERR_OK : open_http(live);
	struct transfer *t;

	if (err)
		return err;
	if (live->http->open == NET_HTTP_FLIGHT_MAX)
		return ERR_OVERLOAD;
	for (t = live->http->transfers; t->easy;)
		t++;
	live->http->open++;
	*t = (struct transfer){
		.easy = curl_easy_init(),
		.live = live,
		.id = request,
		.owner = owner,
		.stream = what->stream,
		.redirects = what->redirects,
		.body_max = what->body_max ? what->body_max : NET_HTTP_BODY_MAX,
		.head = malloc(NET_HTTP_HEAD_MAX),
	};
	err = t->easy && t->head ? set_headers(t, what) : ERR_NO_MEMORY;
	if (!err) {
		set_manners(t, what);
		set_method(t->easy, what);
		err = curl_easy_setopt(t->easy, CURLOPT_URL, what->url) ||
				      curl_multi_add_handle(live->http->multi, t->easy)
			      ? ERR_NO_MEMORY
			      : ERR_OK;
	}
	if (err)
		free_transfer(live->http, t);
	return err;
}

enum err live_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request)
{
	struct live *live = context;
	struct transfer *t = find(live->http, owner, stream);

	if (!t || t->id != stream || !t->answered)
		return ERR_NOT_FOUND;
	if (t->read)
		return ERR_PHASE;
	t->read = request;
	if (t->done) {
		give_end(live, t);
	} else if (t->paused) {
		t->paused = false;
		curl_easy_pause(t->easy, CURLPAUSE_CONT);
	}
	return ERR_OK;
}

void live_http_cancel(void *context, uint64_t owner, uint64_t id)
{
	struct live *live = context;
	struct live_http *http = live->http;
	struct transfer *t = find(http, owner, id);

	if (t)
		cancel(http, t);
	for (size_t i = 0; http && http->open && !id && i < NET_HTTP_FLIGHT_MAX; i++)
		if (http->transfers[i].easy && http->transfers[i].owner == owner &&
			http->transfers[i].id)
			cancel(http, &http->transfers[i]);
}
