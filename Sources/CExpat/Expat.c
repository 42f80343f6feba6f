#include "CExpat.h"

#include <expat.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct gaia_xml {
    XML_Parser parser;
    struct gaia_xml_handlers handlers;
    void *user;
    enum gaia_xml_flaw flaw;
    size_t memory, memory_max;
    size_t doctype_max;
    bool is_in_doctype;
    XML_Index doctype_start;
};

// Expat's allocators are told of no parser, so the thread remembers for which it works.
static _Thread_local struct gaia_xml *current;

// In front of each block stands its size.
enum { HEADER = alignof(max_align_t) > sizeof(size_t) ? alignof(max_align_t) : sizeof(size_t) };

static bool take(size_t size) {
    if (size > current->memory_max || current->memory > current->memory_max - size) {
        current->flaw = GAIA_XML_MEMORY;
        return false;
    }
    current->memory += size;
    return true;
}

static void *bounded_realloc(void *block, size_t size) {
    size_t old = block == NULL ? 0 : *(size_t *)((char *)block - HEADER);
    if (size > SIZE_MAX - HEADER || (size > old && !take(size - old))) return NULL;
    if (size < old) current->memory -= old - size;
    char *start = realloc(block == NULL ? NULL : (char *)block - HEADER, size + HEADER);
    if (start == NULL) return NULL;
    *(size_t *)start = size;
    return start + HEADER;
}

static void *bounded_malloc(size_t size) { return bounded_realloc(NULL, size); }

static void bounded_free(void *block) {
    if (block == NULL) return;
    current->memory -= *(size_t *)((char *)block - HEADER);
    free((char *)block - HEADER);
}

static void refuse(struct gaia_xml *xml, enum gaia_xml_flaw flaw) {
    if (xml->flaw == GAIA_XML_SOUND) xml->flaw = flaw;
    XML_StopParser(xml->parser, XML_FALSE);
}

static void on_start(void *user, const XML_Char *name, const XML_Char **attributes) {
    struct gaia_xml *xml = user;
    // Expat finishes what it has in hand when it is stopped.
    if (xml->flaw == GAIA_XML_SOUND) xml->handlers.start(xml->user, name, attributes);
}

static void on_end(void *user, const XML_Char *name) {
    struct gaia_xml *xml = user;
    if (xml->flaw == GAIA_XML_SOUND) xml->handlers.end(xml->user, name);
}

static void on_text(void *user, const XML_Char *bytes, int count) {
    struct gaia_xml *xml = user;
    if (xml->flaw == GAIA_XML_SOUND) xml->handlers.text(xml->user, bytes, (size_t)count);
}

static void on_doctype(
    void *user, const XML_Char *name, const XML_Char *system, const XML_Char *public, int has_internal_subset) {
    (void)name, (void)system, (void)public, (void)has_internal_subset;
    struct gaia_xml *xml = user;
    xml->is_in_doctype = true;
    xml->doctype_start = XML_GetCurrentByteIndex(xml->parser);
}

static void on_doctype_end(void *user) {
    struct gaia_xml *xml = user;
    xml->is_in_doctype = false;
}

static void on_entity_declaration(
    void *user, const XML_Char *name, int is_parameter, const XML_Char *value, int count, const XML_Char *base,
    const XML_Char *system, const XML_Char *public, const XML_Char *notation) {
    (void)name, (void)is_parameter, (void)value, (void)count, (void)base, (void)system, (void)public, (void)notation;
    refuse(user, GAIA_XML_ENTITY);
}

static void on_skipped_entity(void *user, const XML_Char *name, int is_parameter) {
    (void)name, (void)is_parameter;
    refuse(user, GAIA_XML_ENTITY);
}

static int on_external_entity(
    XML_Parser parser, const XML_Char *context, const XML_Char *base, const XML_Char *system, const XML_Char *public) {
    (void)context, (void)base, (void)system, (void)public;
    refuse(XML_GetUserData(parser), GAIA_XML_ENTITY);
    return XML_STATUS_ERROR;
}

/// Expat knows UTF-8, UTF-16, ISO-8859-1 and ASCII; the one other encoding that is common on the web is here.
static int on_unknown_encoding(void *user, const XML_Char *name, XML_Encoding *encoding) {
    (void)user;
    static const int from_0x80[32] = {
        0x20AC, -1,     0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, -1,     0x017D, -1,     -1,     0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, -1,     0x017E, 0x0178,
    };
    if (strcasecmp(name, "windows-1252") != 0) return XML_STATUS_ERROR;
    for (int byte = 0; byte < 256; byte++) encoding->map[byte] = byte;
    memcpy(encoding->map + 0x80, from_0x80, sizeof from_0x80);
    encoding->data = NULL;
    encoding->convert = NULL;
    encoding->release = NULL;
    return XML_STATUS_OK;
}

struct gaia_xml *gaia_xml_open(
    struct gaia_xml_handlers handlers, void *user, size_t memory_bytes_max, size_t doctype_bytes_max) {
    static const XML_Memory_Handling_Suite memory = {bounded_malloc, bounded_realloc, bounded_free};
    struct gaia_xml *xml = calloc(1, sizeof *xml);
    if (xml == NULL) return NULL;
    xml->handlers = handlers;
    xml->user = user;
    xml->memory_max = memory_bytes_max;
    xml->doctype_max = doctype_bytes_max;
    current = xml;
    xml->parser = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (xml->parser == NULL) {
        free(xml);
        return NULL;
    }
    XML_SetUserData(xml->parser, xml);
    XML_SetElementHandler(xml->parser, on_start, on_end);
    XML_SetCharacterDataHandler(xml->parser, on_text);
    XML_SetDoctypeDeclHandler(xml->parser, on_doctype, on_doctype_end);
    XML_SetEntityDeclHandler(xml->parser, on_entity_declaration);
    XML_SetSkippedEntityHandler(xml->parser, on_skipped_entity);
    XML_SetExternalEntityRefHandler(xml->parser, on_external_entity);
    XML_SetUnknownEncodingHandler(xml->parser, on_unknown_encoding, NULL);
    XML_SetParamEntityParsing(xml->parser, XML_PARAM_ENTITY_PARSING_NEVER);
    return xml;
}

enum gaia_xml_flaw gaia_xml_feed(struct gaia_xml *xml, const void *bytes, size_t count, bool is_last) {
    current = xml;
    enum XML_Status status = XML_Parse(xml->parser, bytes, (int)count, is_last);
    if (xml->flaw == GAIA_XML_SOUND && status != XML_STATUS_OK) xml->flaw = GAIA_XML_MALFORMED;
    if (xml->flaw == GAIA_XML_SOUND && xml->is_in_doctype &&
        (size_t)(XML_GetCurrentByteIndex(xml->parser) - xml->doctype_start) > xml->doctype_max)
        xml->flaw = GAIA_XML_DOCTYPE;
    return xml->flaw;
}

void gaia_xml_stop(struct gaia_xml *xml) { refuse(xml, GAIA_XML_STOPPED); }

const char *gaia_xml_error(struct gaia_xml *xml) {
    const char *words = XML_ErrorString(XML_GetErrorCode(xml->parser));
    return words == NULL ? "no error" : words;
}

size_t gaia_xml_line(struct gaia_xml *xml) { return XML_GetCurrentLineNumber(xml->parser); }

void gaia_xml_close(struct gaia_xml *xml) {
    current = xml;
    XML_ParserFree(xml->parser);
    free(xml);
}
