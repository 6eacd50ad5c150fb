/* SPDX-License-Identifier: Apache-2.0
 *
 * Three passes over a complete head: a byte check that refuses what http-parser would let pass,
 * http-parser itself over the whole head, and the meaning of what it found.
 */
#include "actors/http/http_head.h"

#include "schemas/err.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

static const struct {
	int status;
	const char *text;
} fault_rows[] = {
#define X(name, status, text) {status, text},
	HTTP_FAULT_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	bool single;
} header_rows[] = {
#define X(name, field, single) {field, single},
	HTTP_HEADER_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	enum http_method method;
} verb_rows[] = {
#define X(name) {#name, HTTP_##name},
	HTTP_VERB_TABLE(X)
#undef X
};

int http_fault_status(enum http_fault fault)
{
	return (unsigned)fault < HTTP_FAULT_COUNT ? fault_rows[fault].status : 500;
}

const char *http_fault_text(enum http_fault fault)
{
	return (unsigned)fault < HTTP_FAULT_COUNT ? fault_rows[fault].text : "unknown fault";
}

const char *http_verb_name(enum http_verb verb)
{
	return (unsigned)verb < HTTP_VERB_COUNT ? verb_rows[verb].name : "?";
}

bool http_text_is(struct http_text text, const char *value)
{
	return text.at && strlen(value) == text.size && !strncasecmp(text.at, value, text.size);
}

static struct http_text text_trim(struct http_text text)
{
	while (text.size && (*text.at == ' ' || *text.at == '\t'))
		text.at++, text.size--;
	while (text.size && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t'))
		text.size--;
	return text;
}

bool http_text_has(struct http_text list, const char *item)
{
	const char *end = list.at + list.size;

	for (const char *at = list.at; at && at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;
		const char *parameters = memchr(at, ';', (size_t)(stop - at));
		struct http_text one = {at, (size_t)((parameters ? parameters : stop) - at)};

		if (http_text_is(text_trim(one), item))
			return true;
		at = stop + 1;
	}
	return false;
}

size_t http_head_find(const char *bytes, size_t from, size_t size)
{
	/* the empty line may straddle the place where the last look ended */
	size_t at = from > 3 ? from - 3 : 0;

	while (at + 4 <= size) {
		const char *cr = memchr(bytes + at, '\r', size - at - 3);

		if (!cr)
			return 0;
		at = (size_t)(cr - bytes);
		if (!memcmp(cr, "\r\n\r\n", 4))
			return at + 4;
		at++;
	}
	return 0;
}

/* RFC 9110 5.6.2 */
static bool is_tchar(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

enum http_fault http_head_check_partial(const char *bytes, size_t size)
{
	const char *lf = memchr(bytes, '\n', size);
	size_t line = lf ? (size_t)(lf - bytes) : size;
	/* "OPTIONS " and " HTTP/1.1" around the target */
	size_t around = 8 + 9;

	/* TLS, RTMP and other strangers are told at once, not when the time is over */
	if (size && !is_tchar((unsigned char)bytes[0]))
		return HTTP_FAULT_REQUEST_LINE;
	if (line > HTTP_TARGET_MAX + around)
		return HTTP_FAULT_TARGET_SIZE;
	/* a peer that ends lines in LF alone would otherwise be waited for until the deadline */
	if (lf && (lf == bytes || lf[-1] != '\r'))
		return HTTP_FAULT_LINE_END;
	return size >= HTTP_HEAD_MAX ? HTTP_FAULT_HEAD_SIZE : HTTP_FAULT_NONE;
}

/* Line ends, control characters, folding and header names: what http-parser is lenient about. */
static enum http_fault check_bytes(const char *bytes, size_t size)
{
	size_t lines = 0;
	bool in_name = false;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\r') {
			if (i + 1 == size || bytes[i + 1] != '\n')
				return HTTP_FAULT_LINE_END;
			if (in_name && bytes[i - 1] != '\n')
				return HTTP_FAULT_HEADER;
		} else if (c == '\n') {
			if (!i || bytes[i - 1] != '\r')
				return HTTP_FAULT_LINE_END;
			in_name = true;
			if (++lines > HTTP_HEADERS_MAX + 2)
				return HTTP_FAULT_HEAD_SIZE;
		} else if ((c < ' ' && c != '\t') || c == 0x7f) {
			return HTTP_FAULT_CONTROL;
		} else if (!lines && (c == '\t' || c > 0x7f)) {
			return HTTP_FAULT_REQUEST_LINE;
		} else if (in_name && bytes[i - 1] == '\n' && (c == ' ' || c == '\t')) {
			return HTTP_FAULT_FOLD;
		} else if (in_name && c == ':') {
			if (bytes[i - 1] == '\n')
				return HTTP_FAULT_HEADER;
			in_name = false;
		} else if (in_name && !is_tchar(c)) {
			return HTTP_FAULT_HEADER;
		}
	}
	return HTTP_FAULT_NONE;
}

/* "METHOD SP target SP HTTP/d.d" and nothing else (RFC 9112 3). */
static enum http_fault split_request_line(
	const char *bytes, size_t size, struct http_text *target, struct http_request *out)
{
	const char *end = memchr(bytes, '\r', size);
	const char *first = end ? memchr(bytes, ' ', (size_t)(end - bytes)) : NULL;
	const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;

	if (!second || first == bytes || second == first + 1)
		return HTTP_FAULT_REQUEST_LINE;
	for (const char *c = bytes; c < first; c++) {
		if (!is_tchar((unsigned char)*c))
			return HTTP_FAULT_REQUEST_LINE;
	}
	const char *version = second + 1;
	if (end - version != 8 || memcmp(version, "HTTP/", 5) || version[6] != '.' ||
		version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9')
		return HTTP_FAULT_REQUEST_LINE;
	if (version[5] != '1')
		return HTTP_FAULT_VERSION;
	/* a higher minor version is answered as the highest we know (RFC 9110 2.5) */
	out->minor = version[7] != '0';
	*target = (struct http_text){first + 1, (size_t)(second - first - 1)};
	if (target->size > HTTP_TARGET_MAX)
		return HTTP_FAULT_TARGET_SIZE;
	for (size_t i = 0; i < HTTP_VERB_COUNT; i++) {
		if (strlen(verb_rows[i].name) == (size_t)(first - bytes) &&
			!memcmp(verb_rows[i].name, bytes, (size_t)(first - bytes))) {
			out->verb = (enum http_verb)i;
			return HTTP_FAULT_NONE;
		}
	}
	return HTTP_FAULT_METHOD;
}

struct parse {
	struct http_request *out;
	struct http_text name;
	enum http_fault fault;
	bool complete;
};

static int on_header_field(http_parser *parser, const char *at, size_t size)
{
	struct parse *p = parser->data;

	p->name = (struct http_text){at, size};
	return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t size)
{
	struct parse *p = parser->data;
	struct http_request *out = p->out;

	for (size_t i = 0; i < HTTP_HEADER_COUNT; i++) {
		if (!http_text_is(p->name, header_rows[i].name))
			continue;
		if (out->headers[i].at && header_rows[i].single) {
			p->fault = i == HTTP_HEADER_HOST ? HTTP_FAULT_HOST : HTTP_FAULT_REPEATED;
			return 1;
		}
		if (!out->headers[i].at)
			out->headers[i] = text_trim((struct http_text){at, size});
		return 0;
	}
	out->headers_skipped++;
	return 0;
}

static int on_headers_complete(http_parser *parser)
{
	struct parse *p = parser->data;
	bool upgrade = (parser->flags & F_CONNECTION_UPGRADE) && (parser->flags & F_UPGRADE);

	p->out->keep_alive = http_should_keep_alive(parser) != 0;
	p->out->upgrade = upgrade && p->out->minor > 0;
	p->complete = true;
	return 1; /* no body here: http_conn frames it */
}

/* http-parser's verdict where ours gave none. */
static enum http_fault fault_of(const http_parser *parser)
{
	switch (HTTP_PARSER_ERRNO(parser)) {
	case HPE_OK: return HTTP_FAULT_NONE;
	case HPE_INVALID_METHOD: return HTTP_FAULT_METHOD;
	case HPE_INVALID_VERSION: return HTTP_FAULT_VERSION;
	case HPE_HEADER_OVERFLOW: return HTTP_FAULT_HEAD_SIZE;
	case HPE_INVALID_CONTENT_LENGTH: return HTTP_FAULT_LENGTH;
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return parser->uses_transfer_encoding ? HTTP_FAULT_LENGTH_AND_CHUNKED
						      : HTTP_FAULT_REPEATED;
	case HPE_INVALID_TRANSFER_ENCODING: return HTTP_FAULT_CODING;
	case HPE_INVALID_HOST:
	case HPE_INVALID_PORT:
	case HPE_INVALID_PATH:
	case HPE_INVALID_QUERY_STRING:
	case HPE_INVALID_FRAGMENT:
	case HPE_INVALID_URL: return HTTP_FAULT_TARGET;
	default: return HTTP_FAULT_HEADER;
	}
}

static enum http_fault run_parser(const char *bytes, size_t size, struct http_request *out)
{
	static const http_parser_settings settings = {
		.on_header_field = on_header_field,
		.on_header_value = on_header_value,
		.on_headers_complete = on_headers_complete,
	};
	struct parse parse = {.out = out};
	http_parser parser;

	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &parse;
	http_parser_execute(&parser, &settings, bytes, size);
	if (parse.fault)
		return parse.fault;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
		return fault_of(&parser);
	return parse.complete ? HTTP_FAULT_NONE : HTTP_FAULT_HEADER;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A path with "." or ".." in it, or an encoded slash, means something else to every reader. */
static bool path_is_plain(const char *path)
{
	for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
		size_t size = strcspn(slash + 1, "/");

		if ((size == 1 && slash[1] == '.') || (size == 2 && !memcmp(slash + 1, "..", 2)))
			return false;
	}
	return true;
}

static enum http_fault decode_path(struct http_text raw, char *path)
{
	size_t used = 0;

	for (size_t i = 0; i < raw.size; i++) {
		char c = raw.at[i];

		if (c == '%') {
			int high = i + 2 < raw.size ? hex_digit(raw.at[i + 1]) : -1;
			int low = i + 2 < raw.size ? hex_digit(raw.at[i + 2]) : -1;

			if (high < 0 || low < 0)
				return HTTP_FAULT_TARGET;
			c = (char)(high << 4 | low);
			if ((unsigned char)c < ' ' || c == 0x7f || c == '/')
				return HTTP_FAULT_TARGET;
			i += 2;
		}
		if (used == HTTP_PATH_MAX)
			return HTTP_FAULT_TARGET_SIZE;
		path[used++] = c;
	}
	path[used] = '\0';
	return path_is_plain(path) ? HTTP_FAULT_NONE : HTTP_FAULT_TARGET;
}

/* RFC 9112 3.2: origin form, absolute form and OPTIONS *. CONNECT's authority form is not ours. */
static enum http_fault read_target(struct http_text target, struct http_request *out)
{
	struct http_parser_url url;

	if (memchr(target.at, '#', target.size))
		return HTTP_FAULT_TARGET;
	if (target.size == 1 && target.at[0] == '*') {
		memcpy(out->path, "*", 2);
		return out->verb == HTTP_VERB_OPTIONS ? HTTP_FAULT_NONE : HTTP_FAULT_TARGET;
	}
	if (target.at[0] != '/') {
		http_parser_url_init(&url);
		if (http_parser_parse_url(target.at, target.size, 0, &url) ||
			!(url.field_set & 1 << UF_HOST) || url.field_set & 1 << UF_USERINFO)
			return HTTP_FAULT_TARGET;
		const char *authority = memchr(target.at, '/', target.size);
		MUST(authority && authority + 2 <= target.at + target.size);
		authority += 2;
		size_t left = (size_t)(target.at + target.size - authority);
		size_t size = 0;
		while (size < left && authority[size] != '/' && authority[size] != '?')
			size++;
		out->host = (struct http_text){authority, size};
		target = (struct http_text){authority + size, left - size};
	}
	const char *mark = memchr(target.at, '?', target.size);
	if (mark) {
		out->query =
			(struct http_text){mark + 1, (size_t)(target.at + target.size - mark - 1)};
		target.size = (size_t)(mark - target.at);
	}
	if (!target.size) {
		memcpy(out->path, "/", 2);
		return HTTP_FAULT_NONE;
	}
	return decode_path(target, out->path);
}

/* A host[:port] as a browser or proxy writes it; nothing that could end up in a header or a log
 * line as something else. */
static bool host_is_valid(struct http_text host)
{
	if (host.size > 255)
		return false;
	for (size_t i = 0; i < host.size; i++) {
		unsigned char c = (unsigned char)host.at[i];

		if (!is_tchar(c) && c != ':' && c != '[' && c != ']')
			return false;
	}
	return true;
}

/* RFC 9112 6.3 and 3.2: how long the body is, and whether the head may be believed. */
static enum http_fault read_framing(struct http_request *out)
{
	struct http_text coding = out->headers[HTTP_HEADER_TRANSFER_ENCODING];
	struct http_text length = out->headers[HTTP_HEADER_CONTENT_LENGTH];
	struct http_text host = out->headers[HTTP_HEADER_HOST];
	struct http_text expect = out->headers[HTTP_HEADER_EXPECT];

	if ((out->minor && !host.at) || (host.at && !host_is_valid(host)))
		return HTTP_FAULT_HOST;
	if (!out->host.at)
		out->host = host.at ? host : (struct http_text){"", 0};
	if (coding.at && length.at)
		return HTTP_FAULT_LENGTH_AND_CHUNKED;
	if (coding.at && (!http_text_is(coding, "chunked") || !out->minor))
		return HTTP_FAULT_CODING;
	out->chunked = coding.at != NULL;
	if (length.at) {
		if (!length.size || length.size > 18)
			return length.size ? HTTP_FAULT_BODY_SIZE : HTTP_FAULT_LENGTH;
		for (size_t i = 0; i < length.size; i++) {
			if (length.at[i] < '0' || length.at[i] > '9')
				return HTTP_FAULT_LENGTH;
			out->content_length =
				out->content_length * 10 + (uint64_t)(length.at[i] - '0');
		}
	}
	if (expect.at && out->minor) {
		if (!http_text_is(expect, "100-continue"))
			return HTTP_FAULT_EXPECT;
		out->expect_continue = out->chunked || out->content_length;
	}
	return HTTP_FAULT_NONE;
}

enum http_fault http_head_parse(const char *bytes, size_t size, struct http_request *out)
{
	struct http_text target = {0};
	enum http_fault fault;

	*out = (struct http_request){.minor = 1};
	fault = check_bytes(bytes, size);
	if (!fault)
		fault = split_request_line(bytes, size, &target, out);
	if (!fault)
		fault = run_parser(bytes, size, out);
	if (!fault)
		fault = read_target(target, out);
	if (!fault)
		fault = read_framing(out);
	if (fault)
		*out = (struct http_request){.verb = out->verb, .minor = out->minor};
	return fault;
}
