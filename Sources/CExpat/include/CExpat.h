/// Expat for documents that nobody vouches for: memory has a bound, entities and what lies outside the document are
/// refused, and so is a document type that goes on for long.
#ifndef CEXPAT_H
#define CEXPAT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What is told of a document. Strings are UTF-8, valid during the call; attributes are names and values in turns, and end
/// with NULL.
struct gaia_xml_handlers {
    void (*_Nonnull start)(
        void *_Nonnull user, const char *_Nonnull name, const char *_Nullable const *_Nonnull attributes);
    void (*_Nonnull end)(void *_Nonnull user, const char *_Nonnull name);
    void (*_Nonnull text)(void *_Nonnull user, const char *_Nonnull bytes, size_t count);
};

/// Why a document was read no further.
enum gaia_xml_flaw {
    GAIA_XML_SOUND,
    GAIA_XML_STOPPED,    // by a handler
    GAIA_XML_MALFORMED,  // gaia_xml_error says how
    GAIA_XML_ENTITY,     // it declares an entity, or uses one that only another file could declare
    GAIA_XML_DOCTYPE,    // its document type declaration is too long
    GAIA_XML_MEMORY,     // it needs more memory than allowed, by names or by one long tag
};

struct gaia_xml;

/// NULL when there is no memory. `user` is handed to the handlers.
struct gaia_xml *_Nullable gaia_xml_open(
    struct gaia_xml_handlers handlers, void *_Nonnull user, size_t memory_bytes_max, size_t doctype_bytes_max);

/// Reads on. After anything but GAIA_XML_SOUND nothing may be fed any more. One thread at a time.
enum gaia_xml_flaw gaia_xml_feed(
    struct gaia_xml *_Nonnull xml, const void *_Nullable bytes, size_t count, bool is_last);

/// To be called by a handler: no more is told, and gaia_xml_feed returns GAIA_XML_STOPPED.
void gaia_xml_stop(struct gaia_xml *_Nonnull xml);

/// Expat's words for a malformed document, and where it stands (from 1).
const char *_Nonnull gaia_xml_error(struct gaia_xml *_Nonnull xml);
size_t gaia_xml_line(struct gaia_xml *_Nonnull xml);

void gaia_xml_close(struct gaia_xml *_Nonnull xml);

#ifdef __cplusplus
}
#endif

#endif
