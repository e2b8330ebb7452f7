// mmap:///path?role=…: what is understood and what is refused, and who plays it.
#include <random>

#include "tests/elements/support.h"

using test::Pipeline;
using test::Scene;

namespace {

using Element = test::Ref<GstElement>;

struct Refusal {
  GstURIError code;
  std::string text;
};

Element make(const char* name) {
  GstElement* element = gst_element_factory_make(name, nullptr);
  fail_unless(element != nullptr, "no element %s", name);
  return Element(GST_ELEMENT(gst_object_ref_sink(element)));
}

std::string value_of(GstElement* element, const char* property) {
  GValue value = G_VALUE_INIT;
  g_value_init(&value,
               g_object_class_find_property(G_OBJECT_GET_CLASS(element), property)->value_type);
  g_object_get_property(G_OBJECT(element), property, &value);
  gchar* text =
      G_VALUE_HOLDS_STRING(&value) ? g_value_dup_string(&value) : gst_value_serialize(&value);
  std::string copy = text != nullptr ? text : "";
  g_free(text);
  g_value_unset(&value);
  return copy;
}

void check_same(const std::string& found, const std::string& expected) {
  fail_unless(found == expected, "'%s' is not '%s'", found.c_str(), expected.c_str());
}

// All that a URI may change.
std::vector<std::string> all_values(GstElement* element) {
  std::vector<std::string> values;
  guint count = 0;
  GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(element), &count);
  for (guint i = 0; i < count; ++i)
    if ((specs[i]->flags & G_PARAM_WRITABLE) != 0 && specs[i]->owner_type == G_OBJECT_TYPE(element))
      values.push_back(value_of(element, specs[i]->name));
  g_free(specs);
  return values;
}

// Nothing where the element took it.
std::unique_ptr<Refusal> set(GstElement* element, const std::string& uri) {
  GError* error = nullptr;
  const bool good = gst_uri_handler_set_uri(GST_URI_HANDLER(element), uri.c_str(), &error);
  fail_unless(good == (error == nullptr));
  if (good) return nullptr;
  fail_unless(error->domain == GST_URI_ERROR);
  fail_unless(g_utf8_validate(error->message, -1, nullptr));
  auto refusal =
      std::make_unique<Refusal>(Refusal{static_cast<GstURIError>(error->code), error->message});
  g_error_free(error);
  return refusal;
}

void must_set(GstElement* element, const std::string& uri) {
  const auto refused = set(element, uri);
  fail_unless(refused == nullptr, "%s: %s", uri.c_str(), refused ? refused->text.c_str() : "");
}

std::string get(GstElement* element) {
  gchar* uri = gst_uri_handler_get_uri(GST_URI_HANDLER(element));
  std::string copy = uri != nullptr ? uri : "NULL";
  g_free(uri);
  return copy;
}

struct Taken {
  const char *uri, *property, *value;
};

void check_taken(const char* name, std::initializer_list<Taken> all) {
  for (const auto& [uri, property, value] : all) {
    const auto element = make(name);
    must_set(element.get(), uri);
    const std::string found = value_of(element.get(), property);
    fail_unless(found == value, "%s: %s is '%s', not '%s'", uri, property, found.c_str(), value);
  }
}

struct Refused {
  const char* uri;
  std::vector<const char*> parts;
};

void check_refused(const char* name, std::initializer_list<Refused> all) {
  const auto element = make(name);
  // Other values than the defaults, to see that they stay.
  must_set(element.get(),
           "mmap:///tmp/before?role=server&mmap=yes&max-memory=8192&"
           "connection-timeout=5&on-disconnect=eos");
  const auto before = all_values(element.get());
  for (const auto& [uri, parts] : all) {
    const auto refused = set(element.get(), uri);
    fail_unless(refused != nullptr, "%s was taken", uri);
    fail_unless_equals_int(refused->code, GST_URI_ERROR_BAD_URI);
    for (const char* part : parts)
      fail_unless(test::contains(refused->text, part), "%s: '%s' has no '%s'", uri,
                  refused->text.c_str(), part);
    fail_unless(all_values(element.get()) == before, "%s changed a property", uri);
  }
}

// What a URI handler gets of strangers: pieces that mean something, in any order.
std::string random_uri(std::mt19937& random) {
  static const std::vector<std::string> pieces = {"/",
                                                  "//",
                                                  "?",
                                                  "&",
                                                  "=",
                                                  "#",
                                                  "%",
                                                  "%00",
                                                  "%2F",
                                                  "%25",
                                                  "%3f",
                                                  "%zz",
                                                  "%4",
                                                  "%ff",
                                                  "\xff",
                                                  "ö",
                                                  " ",
                                                  "\t",
                                                  "[",
                                                  "]",
                                                  "@",
                                                  ":",
                                                  ":80",
                                                  "+",
                                                  "..",
                                                  "tmp",
                                                  "a",
                                                  "role",
                                                  "role=",
                                                  "server",
                                                  "role=server",
                                                  "client",
                                                  "mmap",
                                                  "mmap=yes",
                                                  "both",
                                                  "max-memory=",
                                                  "4096",
                                                  "-1",
                                                  "0x",
                                                  "1e9",
                                                  "99999999999999999999",
                                                  "is-live=no",
                                                  "max-buffers=3",
                                                  "perms=0600",
                                                  "socket-path=/x",
                                                  "name=x",
                                                  "stats",
                                                  "parent=",
                                                  "num-clients=1",
                                                  "on-disconnect=eos",
                                                  "connection-timeout=max",
                                                  "leaky-type=1",
                                                  "\"",
                                                  "\\",
                                                  std::string(300, 'x')};
  const auto pick = [&](size_t below) { return static_cast<size_t>(random()) % below; };
  static const std::vector<std::string> beginnings = {"mmap:",    "mmap:/",     "mmap://",
                                                      "mmap:///", "mmap:///x?", "MMAP:///x?role="};
  std::string uri = beginnings[pick(beginnings.size())];
  for (size_t left = pick(8); left > 0; --left)
    uri += pick(4) == 0 ? std::string(1, static_cast<char>(1 + pick(255)))
                        : pieces[pick(pieces.size())];
  return uri;
}

Element make_from(GstURIType type, const std::string& uri) {
  GError* error = nullptr;
  GstElement* element = gst_element_make_from_uri(type, uri.c_str(), nullptr, &error);
  fail_unless(error == nullptr && element != nullptr, "%s: %s", uri.c_str(),
              error != nullptr ? error->message : "no element");
  return Element(GST_ELEMENT(gst_object_ref_sink(element)));
}

guint64 rendered(GstElement* sink) { return test::stat(sink, "rendered"); }

constexpr guint64 kFrames = 30;

// The keys of a URI, and what the mmapsink at the other end has set for them.
struct Keys {
  const char* uri = "";
  const char* sink = "";
  const char* mode = nullptr;  // of what it sends then
};
constexpr Keys kKeys[] = {
    {"?role=server&mmap=yes", "role=client mmap=yes", "mmap"},
    {"?role=server&on-disconnect=eos", "role=client mmap=no", "inline"},
    {"?role=client&mmap=auto", "mmap=yes", "mmap"},
    {"?mmap=no&max-memory=16777216", "mmap=yes", "inline"},
};

std::string sender_line(const Scene& scene, const char* encoder, const Keys& keys) {
  return "videotestsrc num-buffers=" + std::to_string(kFrames) + " ! " + test::kVideo + encoder +
         " ! " + scene.sink("name=sink wait-for-connection=true " + std::string(keys.sink));
}

std::string uri_of(const Scene& scene, const Keys& keys = {}) {
  return "mmap://" + scene.path() + keys.uri;
}

void check_mode(const Pipeline& sender, const Keys& keys) {
  if (keys.mode == nullptr) return;
  const std::string mode = test::text_stat(sender.element("sink"), "mode-send");
  fail_unless(mode == keys.mode, "%s: %s, not %s", keys.uri, mode.c_str(), keys.mode);
}

// Everything that was sent comes out of a bin of that name, as raw video.
void check_decoded(const char* bin, const char* encoder, const Keys& keys = {}) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, encoder, keys));
  const Pipeline player(std::string(bin) + " uri=\"" + uri_of(scene, keys) +
                        "\" ! fakesink name=out");
  player.play();
  sender.play();
  player.wait_eos();
  sender.wait_eos();
  check_mode(sender, keys);
  GstElement* out = player.element("out");
  fail_unless_equals_uint64(rendered(out), kFrames);
  GstPad* pad = gst_element_get_static_pad(out, "sink");
  GstCaps* caps = gst_pad_get_current_caps(pad);
  fail_unless(gst_structure_has_name(gst_caps_get_structure(caps, 0), "video/x-raw"));
  gst_caps_unref(caps);
  gst_object_unref(pad);
}

void check_played(const char* player_name, const char* encoder, const Keys& keys = {}) {
  const Scene scene;
  const Pipeline sender(sender_line(scene, encoder, keys));
  const Pipeline player(std::string(player_name) + " uri=\"" + uri_of(scene, keys) +
                        "\" video-sink=fakesink audio-sink=fakesink");
  player.play();
  sender.play();
  player.wait_eos();
  sender.wait_eos();
  check_mode(sender, keys);
  GstElement* out = nullptr;
  g_object_get(player.get(), "video-sink", &out, nullptr);
  fail_unless_equals_uint64(rendered(out), kFrames);
  gst_object_unref(out);
}

constexpr auto kRaw = "";
constexpr auto kH264 = " ! x264enc tune=zerolatency speed-preset=ultrafast";

}  // namespace

TEST(keys_are_properties) {
  for (const char* name : {"mmapsrc", "mmapsink"})
    check_taken(name, {{"mmap:///tmp/x", "socket-path", "/tmp/x"},
                       {"mmap:/tmp/x", "socket-path", "/tmp/x"},
                       {"MMAP:///tmp/x?", "socket-path", "/tmp/x"},
                       {"mmap:///tmp/../x", "socket-path", "/tmp/../x"},
                       {"mmap:////tmp//x/", "socket-path", "//tmp//x/"},
                       {"mmap:///tmp/x?role=server", "role", "server"},
                       {"mmap:///tmp/x?role=client", "role", "client"},
                       {"mmap:///tmp/x?r%6fle=clien%74", "role", "client"},
                       {"mmap:///tmp/x?mmap=yes&role=client", "mmap", "yes"},
                       {"mmap:///tmp/x?mmap=both", "mmap", "both"},
                       {"mmap:///tmp/x?max-memory=8192", "max-memory", "8192"},
                       {"mmap:///tmp/x?max-memory=0x2000", "max-memory", "8192"},
                       {"mmap:///tmp/x?connection-timeout=-1", "connection-timeout",
                        "18446744073709551615"},
                       {"mmap:///tmp/x?on-disconnect=eos", "on-disconnect", "eos"}});
  check_taken("mmapsrc", {{"mmap:///tmp/x?is-live=false", "is-live", "false"},
                          {"mmap:///tmp/x?is-live=no", "is-live", "false"},
                          {"mmap:///tmp/x?num-buffers=-1", "num-buffers", "-1"},
                          {"mmap:///tmp/x?do-timestamp=1", "do-timestamp", "true"},
                          {"mmap:///tmp/x?busy-poll=500000", "busy-poll", "500000"}});
  check_taken("mmapsink",
              {{"mmap:///tmp/x?max-buffers=3", "max-buffers", "3"},
               {"mmap:///tmp/x?leaky-type=upstream", "leaky-type", "upstream"},
               {"mmap:///tmp/x?perms=0640", "perms", "416"},
               {"mmap:///tmp/x?wait-for-connection=yes", "wait-for-connection", "true"}});
}

TEST(path_is_decoded) {
  for (const char* name : {"mmapsrc", "mmapsink"})
    check_taken(name, {{"mmap:///tmp/a%20b", "socket-path", "/tmp/a b"},
                       {"mmap:///tmp/a b", "socket-path", "/tmp/a b"},
                       {"mmap:///tmp/a%3fb%23c", "socket-path", "/tmp/a?b#c"},
                       {"mmap:///tmp/100%25", "socket-path", "/tmp/100%"},
                       {"mmap:///tmp/%2541", "socket-path", "/tmp/%41"},
                       {"mmap:///tmp/k%C3%B6ln", "socket-path", "/tmp/köln"},
                       {"mmap:///tmp/köln", "socket-path", "/tmp/köln"},
                       {"mmap:///tmp/a+b&c=d", "socket-path", "/tmp/a+b&c=d"}});
}

TEST(refusals_say_why) {
  for (const char* name : {"mmapsrc", "mmapsink"}) {
    check_refused(name, {{"mmap:", {"absolute", "mmap:///"}},
                         {"mmap:x", {"absolute"}},
                         {"mmap://", {"absolute"}},
                         {"mmap:?role=client", {"absolute"}},
                         {"mmap://tmp/x", {"'tmp'", "host", "mmap:///tmp/x"}},
                         {"mmap://localhost/tmp/x", {"'localhost'", "host"}},
                         {"mmap://me@/tmp/x", {"'me@'", "host"}},
                         {"mmap://:80/tmp/x", {"':80'", "host"}},
                         {"mmap://[/tmp/x", {"parsed"}},
                         {"mmap:///tmp/x#part", {"fragment", "%23"}},
                         {"mmap:///tmp/x#", {"fragment"}},
                         {"mmap:///tmp/100%", {"hexadecimal", "%25"}},
                         {"mmap:///tmp/%zz", {"hexadecimal"}},
                         {"mmap:///tmp/a%00b", {"00"}},
                         {"mmap:///tmp/x?%00=1", {"00"}}});
    check_refused(name, {{"mmap:///tmp/x?rol=client", {"'rol'", "role", "max-memory"}},
                         {"mmap:///tmp/x?Role=client", {"'Role'"}},
                         {"mmap:///tmp/x?max_memory=8192", {"'max_memory'", "max-memory"}},
                         {"mmap:///tmp/x?role=client&", {"''"}},
                         {"mmap:///tmp/x?=1", {"''"}},
                         {"mmap:///tmp/x?name=me", {"'name'"}},
                         {"mmap:///tmp/x?parent=me", {"'parent'"}},
                         {"mmap:///tmp/x?stats=1", {"'stats'"}},
                         {"mmap:///tmp/x?socket-path=/tmp/y", {"socket-path"}},
                         {"mmap:///tmp/x?role=client&role=client", {"twice"}}});
    check_refused(name, {{"mmap:///tmp/x?role", {"role", "no value"}},
                         {"mmap:///tmp/x?role=", {"role=", "server, client"}},
                         {"mmap:///tmp/x?role=sever", {"role=sever", "server, client"}},
                         {"mmap:///tmp/x?role=0", {"role=0", "server, client"}},
                         {"mmap:///tmp/x?mmap=no%20way", {"mmap=no way", "auto, yes, both"}},
                         {"mmap:///tmp/x?mmap=%ff", {"mmap="}},
                         {"mmap:///tmp/x?max-memory=", {"max-memory=", "4096 to"}},
                         {"mmap:///tmp/x?max-memory=much", {"max-memory=much", "4096 to"}},
                         {"mmap:///tmp/x?max-memory=4095", {"max-memory=4095", "4096 to"}},
                         {"mmap:///tmp/x?max-memory=-2", {"max-memory=-2"}},
                         {"mmap:///tmp/x?max-memory=99999999999999999999", {"max-memory="}},
                         {"mmap:///tmp/x?on-disconnect=cry",
                          {"on-disconnect=cry", "auto, none, eos, error"}}});
  }
  check_refused("mmapsrc", {{"mmap:///tmp/x?num-buffers=-2", {"num-buffers=-2", "-1 to"}},
                            {"mmap:///tmp/x?num-buffers=4294967296", {"num-buffers="}},
                            {"mmap:///tmp/x?busy-poll=1000000001", {"0 to 1000000000"}},
                            {"mmap:///tmp/x?is-live=perhaps", {"is-live=", "true, false"}},
                            {"mmap:///tmp/x?max-buffers=3", {"'max-buffers'", "is-live"}}});
  check_refused("mmapsink", {{"mmap:///tmp/x?max-buffers=257", {"max-buffers=257", "1 to 256"}},
                             {"mmap:///tmp/x?max-buffers=4294967300", {"1 to 256"}},
                             {"mmap:///tmp/x?max-buffers=-1", {"1 to 256"}},
                             {"mmap:///tmp/x?num-clients=1", {"'num-clients'"}},
                             {"mmap:///tmp/x?leaky-type=2", {"none, upstream, downstream"}},
                             {"mmap:///tmp/x?is-live=no", {"'is-live'", "max-buffers"}},
                             // The base class has this one.
                             {"mmap:///tmp/x?sync=true", {"'sync'"}}});
}

TEST(one_bad_key_sets_nothing) {
  check_refused("mmapsrc",
                {{"mmap:///tmp/y?role=client&mmap=auto&max-memory=4096&is-live=no&x=1", {"'x'"}},
                 {"mmap:///tmp/y?num-buffers=1&role=sever&is-live=no", {"role=sever"}}});
}

TEST(other_protocols_are_refused) {
  const auto src = make("mmapsrc");
  const auto refused = set(src.get(), "file:///tmp/x");
  fail_unless(refused != nullptr);
  fail_unless_equals_int(refused->code, GST_URI_ERROR_UNSUPPORTED_PROTOCOL);
}

TEST(uri_is_set_in_null_only) {
  const Scene scene;
  for (const char* name : {"mmapsrc", "mmapsink"}) {
    const auto element = make(name);
    const std::string uri = uri_of(scene);
    must_set(element.get(), uri);
    fail_unless_equals_int(gst_element_set_state(element.get(), GST_STATE_READY),
                           GST_STATE_CHANGE_SUCCESS);
    const auto refused = set(element.get(), uri + "2");
    fail_unless(refused != nullptr && refused->code == GST_URI_ERROR_BAD_STATE);
    fail_unless(test::contains(refused->text, GST_OBJECT_NAME(element.get())));
    check_same(get(element.get()), uri);
    gst_element_set_state(element.get(), GST_STATE_NULL);
    must_set(element.get(), uri + "2");
  }
}

TEST(uri_tells_what_is_set) {
  const auto src = make("mmapsrc");
  const auto sink = make("mmapsink");
  check_same(get(src.get()), "NULL");
  for (const auto* element : {&src, &sink})
    g_object_set(element->get(), "socket-path", "/tmp/a b/ö?%#", nullptr);
  check_same(get(src.get()), "mmap:///tmp/a%20b/%C3%B6%3F%25%23");
  // The same URI for both ends.
  check_same(get(sink.get()), get(src.get()));
  gst_util_set_object_arg(G_OBJECT(src.get()), "role", "server");
  gst_util_set_object_arg(G_OBJECT(src.get()), "mmap", "a&b");
  g_object_set(src.get(), "socket-path", "/x", "max-memory", guint64{8192}, nullptr);
  check_same(get(src.get()), "mmap:///x?role=server&mmap=a%26b");
  g_object_set(src.get(), "socket-path", "", nullptr);
  check_same(get(src.get()), "NULL");
}

TEST(relative_path_becomes_absolute) {
  const auto src = make("mmapsrc");
  g_object_set(src.get(), "socket-path", "camera", nullptr);
  gchar* here = g_get_current_dir();
  const std::string expected = std::string(here) + "/camera";
  g_free(here);
  must_set(src.get(), get(src.get()));
  check_same(value_of(src.get(), "socket-path"), expected);
}

TEST(uri_comes_back) {
  const auto src = make("mmapsrc");
  for (const char* uri :
       {"mmap:///tmp/x?role=server&mmap=yes", "mmap:///tmp/x", "mmap:///tmp/x?mmap=both",
        "mmap:///tmp/a%20b", "mmap:///%3F%23%25%26%3D", "mmap:///k%C3%B6ln", "mmap:///%FF%01",
        "mmap:////x//y/", "mmap:///~/-_."}) {
    must_set(src.get(), uri);
    check_same(get(src.get()), uri);
  }
}

// Which link is meant is the URI's alone; the rest is the application's, too.
TEST(what_uri_does_not_name) {
  const auto src = make("mmapsrc");
  must_set(src.get(), "mmap:///tmp/x?role=server&mmap=yes&max-memory=8192&is-live=false");
  must_set(src.get(), "mmap:///tmp/y");
  for (const auto& [property, value] : {std::pair{"role", "client"},
                                        {"mmap", "auto"},
                                        {"max-memory", "8192"},
                                        {"is-live", "false"}})
    check_same(value_of(src.get(), property), value);
}

TEST(random_strings) {
  std::mt19937 random(20240601);
  size_t taken = 0;
  for (const char* name : {"mmapsrc", "mmapsink"}) {
    const auto element = make(name);
    for (int i = 0; i < 3000; ++i) {
      const std::string uri = random_uri(random);
      const auto before = all_values(element.get());
      if (set(element.get(), uri)) {
        fail_unless(all_values(element.get()) == before, "%s", uri.c_str());
        continue;
      }
      ++taken;
      const std::string own = get(element.get());
      const auto after = all_values(element.get());
      must_set(element.get(), own);
      fail_unless(all_values(element.get()) == after, "%s came back as %s", uri.c_str(),
                  own.c_str());
    }
  }
  fail_unless(taken > 300, "only %zu were taken", taken);
}

TEST(elements_are_made_from_uri) {
  const Scene scene;
  for (const GstURIType type : {GST_URI_SRC, GST_URI_SINK})
    fail_unless(gst_uri_protocol_is_supported(type, "mmap"));
  const auto src = make_from(GST_URI_SRC, uri_of(scene) + "?is-live=false");
  const auto sink = make_from(GST_URI_SINK, uri_of(scene) + "?max-buffers=3");
  check_same(G_OBJECT_TYPE_NAME(src.get()), "GstMmapSrc");
  check_same(G_OBJECT_TYPE_NAME(sink.get()), "GstMmapSink");
  for (const auto* element : {&src, &sink})
    check_same(value_of(element->get(), "socket-path"), scene.path());
  GError* error = nullptr;
  fail_unless(gst_element_make_from_uri(GST_URI_SRC, "mmap:///x?rol=1", nullptr, &error) ==
              nullptr);
  fail_unless(g_error_matches(error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI));
  fail_unless(test::contains(error->message, "'rol'"));
  g_error_free(error);
}

TEST(uridecodebin_raw) { check_decoded("uridecodebin", kRaw); }
TEST(uridecodebin_h264) { check_decoded("uridecodebin", kH264); }
TEST(uridecodebin3_raw) { check_decoded("uridecodebin3", kRaw); }
TEST(uridecodebin3_h264) { check_decoded("uridecodebin3", kH264); }
TEST(playbin_raw) { check_played("playbin", kRaw); }
TEST(playbin3_raw) { check_played("playbin3", kRaw); }
TEST(playbin3_h264) { check_played("playbin3", kH264); }
TEST(keys_go_through_uridecodebin) {
  for (const Keys& keys : kKeys) check_decoded("uridecodebin", kH264, keys);
}
TEST(keys_go_through_playbin3) {
  for (const Keys& keys : kKeys) check_played("playbin3", kH264, keys);
}

TEST(uridecodebin_says_what_is_wrong) {
  const Pipeline player("uridecodebin uri=\"mmap://tmp/x\" ! fakesink");
  fail_unless_equals_int(player.set(GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  const std::string error = player.wait_error();
  fail_unless(test::contains(error, "mmap:///tmp/x"), "%s", error.c_str());
}
