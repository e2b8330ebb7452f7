#include "elements/uri.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "elements/settings.h"
#include "lib/result.h"

namespace gstmmap {

using mmaplink::Error;
using mmaplink::Failure;
using mmaplink::Result;

namespace {

struct Free {
  void operator()(gchar* text) const { g_free(text); }
  void operator()(GstUri* uri) const { gst_uri_unref(uri); }
  void operator()(GHashTable* table) const { g_hash_table_unref(table); }
  void operator()(GValue* value) const {
    g_value_unset(value);
    g_free(value);
  }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

struct Setting {
  const GParamSpec* spec;
  Owned<GValue> value;
};
using Changes = std::vector<Setting>;

// The properties that say which link is meant, besides the path.
constexpr const char* kOfLink[] = {"role", "mmap"};

Error refusal(std::string text) { return {Failure::settings, std::move(text)}; }

Owned<GValue> value_for(const GParamSpec* spec) {
  return Owned<GValue>(g_value_init(g_new0(GValue, 1), spec->value_type));
}

GParamSpec* property_of(GObjectClass* klass, const char* name) {
  GParamSpec* spec = g_object_class_find_property(klass, name);
  // Not those of its parents, and no other spelling, or a key might be there twice.
  const bool usable = spec != nullptr && spec->owner_type == G_TYPE_FROM_CLASS(klass) &&
                      (spec->flags & G_PARAM_WRITABLE) != 0 && strcmp(spec->name, name) == 0 &&
                      strcmp(name, "fd") != 0;  // the URI has a path
  return usable ? spec : nullptr;
}

std::string keys_of(GObjectClass* klass) {
  guint count = 0;
  const std::unique_ptr<GParamSpec*, decltype(&g_free)> all(
      g_object_class_list_properties(klass, &count), g_free);
  std::string keys;
  for (guint i = 0; i < count; ++i) {
    const char* name = all.get()[i]->name;
    if (strcmp(name, "socket-path") != 0 && property_of(klass, name) != nullptr)
      keys += (keys.empty() ? "" : ", ") + std::string(name);
  }
  return keys;
}

// "is none of: server, client"
std::string why_not(const GParamSpec* spec) {
  if (G_IS_PARAM_SPEC_ENUM(spec)) {
    const GEnumClass* klass = G_PARAM_SPEC_ENUM(spec)->enum_class;
    std::string words;
    for (guint i = 0; i < klass->n_values; ++i)
      words += (i == 0 ? "" : ", ") + std::string(klass->values[i].value_nick);
    return "is none of: " + words;
  }
  const auto range = [](auto* limits) {
    return "is no number from " + std::to_string(limits->minimum) + " to " +
           std::to_string(limits->maximum);
  };
  if (G_IS_PARAM_SPEC_INT(spec)) return range(G_PARAM_SPEC_INT(spec));
  if (G_IS_PARAM_SPEC_UINT(spec)) return range(G_PARAM_SPEC_UINT(spec));
  if (G_IS_PARAM_SPEC_UINT64(spec)) return range(G_PARAM_SPEC_UINT64(spec));
  if (G_IS_PARAM_SPEC_BOOLEAN(spec)) return "is none of: true, false";
  return "is not of its type";
}

// What gst_value_deserialize() takes for another number: too large a guint, modulo 2^32, and what
// is negative. -1 is how launch lines say "no limit", though.
bool would_wrap(GType type, const char* text) {
  if (type != G_TYPE_UINT && type != G_TYPE_UINT64) return false;
  if (strchr(text, '-') != nullptr) return type == G_TYPE_UINT || strcmp(text, "-1") != 0;
  return type == G_TYPE_UINT && g_ascii_strtoull(text, nullptr, 0) > G_MAXUINT;
}

// False where the text is no value of that type.
bool parse_value(const GParamSpec* spec, const char* text, GValue* value) {
  // Not what GStreamer takes besides: an enum's numbers and descriptions, a string in quotes.
  if (G_IS_PARAM_SPEC_STRING(spec)) {
    g_value_set_string(value, text);
    return g_utf8_validate(text, -1, nullptr);
  }
  if (G_IS_PARAM_SPEC_ENUM(spec)) {
    const auto* found = g_enum_get_value_by_nick(G_PARAM_SPEC_ENUM(spec)->enum_class, text);
    if (found != nullptr) g_value_set_enum(value, found->value);
    return found != nullptr;
  }
  // Nothing at all is 0 to GStreamer.
  return *text != '\0' && !would_wrap(spec->value_type, text) && gst_value_deserialize(value, text);
}

Result<Setting> parse_setting(GObjectClass* klass, const char* key, const char* text) {
  if (strcmp(key, "socket-path") == 0)
    return refusal("'socket-path' is no key: it is the path of the URI");
  GParamSpec* spec = property_of(klass, key);
  if (spec == nullptr)
    return refusal("unknown key '" + std::string(key) + "'; there are: " + keys_of(klass));
  if (text == nullptr) return refusal("the key " + std::string(key) + " has no value");
  const std::string pair = std::string(key) + "=" + text;
  auto value = value_for(spec);
  // Validating changes what is out of range.
  if (!parse_value(spec, text, value.get()) || g_param_value_validate(spec, value.get()))
    return refusal("the value in " + pair + " " + why_not(spec));
  if (strcmp(key, "mmap") == 0)
    if (auto good = check_mmap(text); !good) return good.error();
  return Setting{spec, std::move(value)};
}

Result<Setting> parse_path(GObjectClass* klass, const GstUri* uri) {
  const Owned<gchar> path(gst_uri_get_path(uri));
  if (!path || *path != '/')
    return refusal("the path has to be absolute, as in mmap:///tmp/camera");
  const GParamSpec* spec = property_of(klass, "socket-path");
  auto value = value_for(spec);
  g_value_set_string(value.get(), path.get());
  return Setting{spec, std::move(value)};
}

mmaplink::Status check_shape(const char* text, const GstUri* uri) {
  if (gst_uri_get_host(uri) != nullptr || gst_uri_get_userinfo(uri) != nullptr ||
      gst_uri_get_port(uri) != GST_URI_NO_PORT) {
    const std::string_view rest = text + strlen("mmap://");
    return refusal("'" + std::string(rest.substr(0, rest.find_first_of("/?"))) +
                   "' stands where a host would, and a link has none; a path takes a third slash: "
                   "mmap:///" +
                   std::string(rest));
  }
  if (gst_uri_get_fragment(uri) != nullptr)
    return refusal("'#' begins a fragment, which means nothing here; in a path it is %23");
  return mmaplink::ok();
}

// GstUri leaves out what it can't decode, and crashes on a key that it can't.
bool can_be_decoded(const char* text) {
  for (; (text = strchr(text, '%')) != nullptr; ++text)
    if (!g_ascii_isxdigit(text[1]) || !g_ascii_isxdigit(text[2]) ||
        (text[1] == '0' && text[2] == '0'))
      return false;
  return true;
}

// GstUri keeps the last.
bool has_key_twice(const char* text, GHashTable* query) {
  const char* begin = strchr(text, '?');
  if (begin == nullptr || begin[1] == '\0') return false;
  const auto separators = std::count(begin, begin + strlen(begin), '&');
  return static_cast<guint>(separators) + 1 != g_hash_table_size(query);
}

// All that the URI sets, or why it can't be.
Result<Changes> parse(GObjectClass* klass, const char* text) {
  if (!can_be_decoded(text))
    return refusal(
        "after '%' there have to be two hexadecimal digits, and not 00; in a path it is %25");
  const Owned<GstUri> uri(gst_uri_from_string(text));
  if (!uri) return refusal("this can't be parsed as a URI");
  if (auto good = check_shape(text, uri.get()); !good) return good.error();

  Changes changes;
  auto path = parse_path(klass, uri.get());
  if (!path) return path.error();
  changes.push_back(std::move(*path));
  for (const char* name : kOfLink) {
    GParamSpec* spec = property_of(klass, name);
    changes.push_back({spec, value_for(spec)});
    g_param_value_set_default(spec, changes.back().value.get());
  }

  const Owned<GHashTable> query(gst_uri_get_query_table(uri.get()));
  if (!query) return changes;
  if (has_key_twice(text, query.get())) return refusal("a key is there twice");
  GHashTableIter each;
  gpointer key = nullptr, value = nullptr;
  g_hash_table_iter_init(&each, query.get());
  while (g_hash_table_iter_next(&each, &key, &value)) {
    auto setting =
        parse_setting(klass, static_cast<const char*>(key), static_cast<const char*>(value));
    if (!setting) return setting.error();
    changes.push_back(std::move(*setting));
  }
  return changes;
}

// Whoever asked adds the URI.
gboolean refuse(GError** error, GstURIError code, std::string why) {
  why[0] = g_ascii_toupper(why[0]);
  const Owned<gchar> text(g_utf8_make_valid(why.c_str(), -1));
  g_set_error_literal(error, GST_URI_ERROR, code, text.get());
  return FALSE;
}

gboolean set_uri(GstURIHandler* handler, const gchar* uri, GError** error) {
  auto* object = G_OBJECT(handler);
  auto changes = parse(G_OBJECT_GET_CLASS(object), uri);
  if (!changes) return refuse(error, GST_URI_ERROR_BAD_URI, changes.error().text);
  // From READY on the element has taken its place at the old path.
  if (GST_STATE(object) != GST_STATE_NULL || GST_STATE_PENDING(object) > GST_STATE_NULL)
    return refuse(
        error, GST_URI_ERROR_BAD_STATE,
        "the URI of " + std::string(GST_OBJECT_NAME(object)) + " can be set in state NULL only");
  g_object_freeze_notify(object);
  for (const auto& [spec, value] : *changes) g_object_set_property(object, spec->name, value.get());
  g_object_thaw_notify(object);
  return TRUE;
}

std::string escaped(const char* text, const char* also_allowed) {
  return Owned<gchar>(g_uri_escape_string(text, also_allowed, FALSE)).get();
}

std::string text_of(const GValue* value) {
  if (G_VALUE_HOLDS_STRING(value)) return g_value_get_string(value);
  return Owned<gchar>(gst_value_serialize(value)).get();
}

gchar* get_uri(GstURIHandler* handler) {
  auto* object = G_OBJECT(handler);
  gchar* set = nullptr;
  g_object_get(object, "socket-path", &set, nullptr);
  const Owned<gchar> given(set);
  if (!given || *given == '\0') return nullptr;
  std::string path = given.get();
  if (path[0] != '/') path = Owned<gchar>(g_get_current_dir()).get() + ("/" + path);

  std::string uri = "mmap://" + escaped(path.c_str(), "/");
  char separator = '?';
  for (const char* name : kOfLink) {
    GParamSpec* spec = property_of(G_OBJECT_GET_CLASS(object), name);
    const auto value = value_for(spec);
    g_object_get_property(object, name, value.get());
    if (g_param_value_defaults(spec, value.get())) continue;
    uri += separator + std::string(name) + "=" + escaped(text_of(value.get()).c_str(), nullptr);
    separator = '&';
  }
  return g_strdup(uri.c_str());
}

const gchar* const* protocols(GType) {
  static const gchar* const all[] = {"mmap", nullptr};
  return all;
}

void init(gpointer interface, GstURIType (*type)(GType)) {
  auto* handler = static_cast<GstURIHandlerInterface*>(interface);
  handler->get_type = type;
  handler->get_protocols = protocols;
  handler->get_uri = get_uri;
  handler->set_uri = set_uri;
}

}  // namespace

void init_uri_source(gpointer interface, gpointer) {
  init(interface, [](GType) { return GST_URI_SRC; });
}

void init_uri_sink(gpointer interface, gpointer) {
  init(interface, [](GType) { return GST_URI_SINK; });
}

}  // namespace gstmmap
