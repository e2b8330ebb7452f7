// What can be seen of the two elements without a link: registration, properties, signals, stats.
#include <cstring>
#include <initializer_list>

#include "tests/elements/support.h"

namespace {

// Text as gst-inspect-1.0 and launch lines have it.
std::string value_of(GstElement* element, const char* property) {
  const GParamSpec* spec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), property);
  fail_unless(spec != nullptr, "no property %s", property);
  GValue value = G_VALUE_INIT;
  g_value_init(&value, spec->value_type);
  g_object_get_property(G_OBJECT(element), property, &value);
  gchar* text = gst_value_serialize(&value);
  std::string copy = text != nullptr ? text : "";
  g_free(text);
  g_value_unset(&value);
  return copy;
}

struct Expected {
  const char* property;
  const char* value;
};

void check_values(GstElement* element, std::initializer_list<Expected> all) {
  for (const auto& [property, value] : all) {
    const std::string found = value_of(element, property);
    fail_unless(found == value, "%s is %s, not %s", property, found.c_str(), value);
  }
}

using Element = test::Ref<GstElement>;

Element make(const char* name) {
  GstElement* element = gst_element_factory_make(name, nullptr);
  fail_unless(element != nullptr, "no element %s", name);
  return Element(GST_ELEMENT(gst_object_ref_sink(element)));
}

void check_common(GstElement* element, const char* role) {
  check_values(element, {{"socket-path", ""},
                         {"role", role},
                         {"mmap", "auto"},
                         {"max-memory", "1073741824"},
                         {"huge-pages", "no"},
                         {"connection-timeout", "18446744073709551615"},
                         {"on-disconnect", "auto"}});
  guint64 query_timeout = 0;
  g_object_get(element, "query-timeout", &query_timeout, nullptr);
  fail_unless_equals_uint64(query_timeout, GST_SECOND);
  for (const char* field :
       {"buffers", "bytes", "buffers-copied", "bytes-copied", "dropped", "in-flight", "arenas",
        "arena-bytes", "hugetlb-bytes", "thp-bytes", "peers", "latency-p50", "latency-p99"})
    fail_unless_equals_uint64(test::stat(element, field), 0);
  for (const char* name : {"client-connected", "client-disconnected"}) {
    const guint id = g_signal_lookup(name, G_OBJECT_TYPE(element));
    fail_unless(id != 0, "no signal %s", name);
    GSignalQuery query;
    g_signal_query(id, &query);
    fail_unless_equals_int(query.n_params, 2);
    fail_unless(query.param_types[0] == G_TYPE_UINT && query.param_types[1] == G_TYPE_UINT);
  }
}

void check_factory(const char* name, const char* klass, GstPadDirection direction) {
  GstElementFactory* factory = gst_element_factory_find(name);
  fail_unless(factory != nullptr);
  fail_unless_equals_int(gst_plugin_feature_get_rank(GST_PLUGIN_FEATURE(factory)), GST_RANK_NONE);
  fail_unless_equals_string(gst_plugin_feature_get_plugin_name(GST_PLUGIN_FEATURE(factory)),
                            "mmap");
  fail_unless_equals_string(gst_element_factory_get_metadata(factory, GST_ELEMENT_METADATA_KLASS),
                            klass);
  const GList* templates = gst_element_factory_get_static_pad_templates(factory);
  fail_unless_equals_int(g_list_length(const_cast<GList*>(templates)), 1);
  auto* pad = static_cast<GstStaticPadTemplate*>(templates->data);
  fail_unless(pad->direction == direction && pad->presence == GST_PAD_ALWAYS);
  fail_unless_equals_string(pad->static_caps.string, "ANY");
  gst_object_unref(factory);
}

}  // namespace

TEST(sink_has_its_defaults) {
  const auto sink = make("mmapsink");
  check_common(sink.get(), "server");
  check_values(sink.get(), {{"wait-for-connection", "false"},
                            {"num-clients", "0"},
                            {"max-buffers", "8"},
                            {"leaky-type", "none"},
                            {"perms", "384"},
                            {"sync", "false"},
                            {"async", "false"}});
}

TEST(source_has_its_defaults) {
  const auto src = make("mmapsrc");
  check_common(src.get(), "client");
  check_values(src.get(), {{"is-live", "true"},
                           {"num-buffers", "-1"},
                           {"do-timestamp", "false"},
                           {"busy-poll", "0"}});
}

TEST(what_can_be_set_when_is_said) {
  for (const char* name : {"mmapsink", "mmapsrc"}) {
    const auto element = make(name);
    const auto can_be_set_in_ready = [&](const char* property) {
      return (g_object_class_find_property(G_OBJECT_GET_CLASS(element.get()), property)->flags &
              GST_PARAM_MUTABLE_READY) != 0;
    };
    for (const char* property : {"socket-path", "role"}) fail_if(can_be_set_in_ready(property));
    for (const char* property : {"mmap", "max-memory", "huge-pages", "perms", "group",
                                 "allowed-uids", "query-timeout", "on-disconnect"})
      fail_unless(can_be_set_in_ready(property), "%s", property);
  }
}

TEST(factories_say_what_they_are) {
  check_factory("mmapsink", "Sink", GST_PAD_SINK);
  check_factory("mmapsrc", "Source", GST_PAD_SRC);
}

TEST(elements_are_sink_and_source_to_a_bin) {
  const auto sink = make("mmapsink");
  const auto src = make("mmapsrc");
  fail_unless(GST_OBJECT_FLAG_IS_SET(sink.get(), GST_ELEMENT_FLAG_SINK));
  fail_unless(GST_OBJECT_FLAG_IS_SET(src.get(), GST_ELEMENT_FLAG_SOURCE));
}

TEST(what_is_set_is_what_is_got) {
  const auto sink = make("mmapsink");
  const auto src = make("mmapsrc");
  const std::initializer_list<Expected> common = {{"socket-path", "/tmp/elsewhere"},
                                                  {"role", "server"},
                                                  {"mmap", "yes"},
                                                  {"max-memory", "8192"},
                                                  {"huge-pages", "try"},
                                                  {"connection-timeout", "5"},
                                                  {"on-disconnect", "eos"}};
  const std::initializer_list<Expected> of_sink = {{"wait-for-connection", "true"},
                                                   {"max-buffers", "3"},
                                                   {"leaky-type", "downstream"},
                                                   {"perms", "432"}};
  const std::initializer_list<Expected> of_src = {
      {"is-live", "false"}, {"num-buffers", "7"}, {"do-timestamp", "true"}, {"busy-poll", "9"}};
  const auto set = [](GstElement* element, std::initializer_list<Expected> all) {
    for (const auto& [property, value] : all)
      gst_util_set_object_arg(G_OBJECT(element), property, value);
    check_values(element, all);
  };
  set(sink.get(), common);
  set(sink.get(), of_sink);
  set(src.get(), common);
  set(src.get(), of_src);
  for (const char* words : {"client", "server"}) set(src.get(), {{"role", words}});
  for (const char* words : {"auto", "none", "eos", "error"})
    set(sink.get(), {{"on-disconnect", words}});
  for (const char* words : {"none", "upstream", "downstream"})
    set(sink.get(), {{"leaky-type", words}});
  g_object_set(sink.get(), "socket-path", nullptr, nullptr);
  check_values(sink.get(), {{"socket-path", ""}});
}
