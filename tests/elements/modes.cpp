// The property `mmap`: which directions are mapped for each pair of words, what a person is told,
// and that what is not mapped crosses all the same.
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

std::string text_stat(const Harness& of, const char* field) {
  return test::text_stat(of.element(), field);
}

struct Outcome {
  const char* server;
  const char* client;
  const char* to_client;
  const char* to_server;
};

constexpr Outcome kOutcomes[] = {
    {"auto", "auto", "mmap", "inline"},  {"yes", "auto", "mmap", "mmap"},
    {"both", "auto", "mmap", "mmap"},    {"no", "auto", "inline", "inline"},
    {"read", "auto", "inline", "mmap"},  {"write", "auto", "mmap", "inline"},
    {"auto", "yes", "mmap", "mmap"},     {"auto", "read", "mmap", "inline"},
    {"auto", "write", "inline", "mmap"}, {"yes", "no", "inline", "inline"},
};

// One direction, of one buffer; `sends` is the server or the client.
void check_outcome(const Outcome& outcome, bool server_sends) {
  const Scene scene;
  const auto with = [](const char* role, const char* word) {
    return std::string("role=") + role + " mmap=" + word;
  };
  const std::string server = with("server", outcome.server);
  const std::string client = with("client", outcome.client);
  const Harness sink(scene.sink(server_sends ? server : client));
  const Harness source(scene.src(server_sends ? client : server));
  source.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(3), GST_FLOW_OK);
  fail_unless_equals_uint64(source.pull_number(), 3);
  const std::string expected = server_sends ? outcome.to_client : outcome.to_server;
  for (const auto& [end, field] :
       {std::pair(&sink, "mode-send"), std::pair(&source, "mode-receive")}) {
    const std::string mode = text_stat(*end, field);
    fail_unless(mode == expected, "server mmap=%s, client mmap=%s: %s is %s, not %s",
                outcome.server, outcome.client, field, mode.c_str(), expected.c_str());
    fail_if(text_stat(*end, (std::string(field) + "-because").c_str()).empty());
  }
}

}  // namespace

TEST(each_direction_is_decided_on_its_own) {
  for (const Outcome& outcome : kOutcomes)
    for (const bool server_sends : {true, false}) check_outcome(outcome, server_sends);
}

TEST(yes_that_can_not_be_had_is_an_error_that_says_what_is_missing) {
  const struct {
    const char* server;
    const char* client;
    bool sends;
  } all[] = {{"no", "yes", false},    {"no", "yes", true},   {"read", "both", false},
             {"write", "both", true}, {"no", "read", false}, {"no", "write", true}};
  for (const auto& [server, client, sends] : all) {
    const Scene scene;
    const std::string of_server = std::string("role=server mmap=") + server;
    const std::string of_client = std::string("role=client mmap=") + client;
    const Harness first(sends ? scene.src(of_server) : scene.sink(of_server));
    if (sends) first.play();
    const Harness second(sends ? scene.sink(of_client) : scene.src(of_client));
    if (!sends) second.play();
    const std::string error = second.wait_error();
    const char* missing = sends ? "what this client sends be" : "what this client receives be";
    fail_unless(test::contains(error, missing) && test::contains(error, "mmap=auto here"),
                "server %s, client %s: %s", server, client, error.c_str());
  }
}

// A client that could not have what it would by default says so; one that asked for no more does
// not.
TEST(auto_falls_back_with_a_warning) {
  for (const char* word : {"auto", "no"}) {
    test::Warnings warnings;
    const Scene scene;
    const Harness sink(scene.sink("mmap=no"));
    const Harness source(scene.src(std::string("mmap=") + word));
    source.play();
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(1), GST_FLOW_OK);
    fail_unless_equals_uint64(source.pull_number(), 1);
    fail_unless(warnings.has("mmap=auto falls back") == (std::string(word) == "auto"));
  }
}

// The one that changes it goes to READY; the other is connected anew.
TEST(a_changed_mind_needs_only_a_new_link) {
  for (const bool server_changes : {true, false}) {
    const Scene scene;
    const Harness sink(scene.sink(server_changes ? "mmap=no" : ""));
    const Harness source(
        scene.src(server_changes ? "on-disconnect=none" : "on-disconnect=none mmap=no"));
    source.play();
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(1), GST_FLOW_OK);
    fail_unless_equals_uint64(source.pull_number(), 1);
    fail_unless(text_stat(source, "mode-receive") == "inline");
    GstElement* changes = server_changes ? sink.element() : source.element();
    gst_element_set_state(changes, GST_STATE_READY);
    g_object_set(changes, "mmap", "auto", nullptr);
    gst_element_set_state(changes, GST_STATE_PLAYING);
    fail_unless(test::becomes([&] { return text_stat(source, "mode-receive") == "mmap"; }));
    fail_unless(test::becomes([&] { return text_stat(sink, "mode-send") == "mmap"; }));
  }
}

// A server's source that lets nothing be mapped any more: no link of before goes on mapping.
TEST(a_server_that_becomes_stricter_ends_links_that_map) {
  const Scene scene;
  const Harness back(scene.sink("role=server"));  // keeps the link
  const Harness source(scene.src("role=server"));
  source.play();
  const Harness sink(scene.sink("role=client mmap=write on-disconnect=none"));
  fail_unless(test::becomes([&] { return text_stat(sink, "mode-send") == "mmap"; }));
  gst_element_set_state(source.element(), GST_STATE_READY);
  g_object_set(source.element(), "mmap", "no", nullptr);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  const std::string error = sink.wait_error();
  fail_unless(test::contains(error, "what this client sends be"), "%s", error.c_str());
}

// Both ways at once, each in its own way, with more than a socket takes at a time.
TEST(both_directions_of_one_link) {
  for (const char* words : {"mmap=no", "mmap=read", "mmap=write", "mmap=auto"}) {
    const Scene scene;
    const Pipeline server(scene.src("role=server mmap=yes ! identity ! ") + scene.sink());
    server.play();
    struct Seen {
      guint frames = 0;
      guint sum = 0;
    } sent, came;
    const Pipeline client(
        "videotestsrc num-buffers=50 pattern=ball ! video/x-raw,format=I420,width=1280,height=720 "
        "! tee name=t  t. ! queue ! fakesink name=sent signal-handoffs=true sync=false  t. ! queue "
        "! " +
        scene.sink(std::string("role=client ") + words) + "  " + scene.src(words) +
        " ! fakesink name=came signal-handoffs=true sync=false");
    const auto see = +[](GstElement*, GstBuffer* buffer, GstPad*, gpointer data) {
      auto& seen = *static_cast<Seen*>(data);
      GstMapInfo map;
      fail_unless(gst_buffer_map(buffer, &map, GST_MAP_READ));
      GBytes* bytes = g_bytes_new_static(map.data, map.size);
      seen.sum = seen.sum * 31 + g_bytes_hash(bytes);
      g_bytes_unref(bytes);
      gst_buffer_unmap(buffer, &map);
      ++seen.frames;
    };
    g_signal_connect(client.element("sent"), "handoff", G_CALLBACK(see), &sent);
    g_signal_connect(client.element("came"), "handoff", G_CALLBACK(see), &came);
    client.play();
    client.wait_eos();
    fail_unless(sent.frames == 50 && came.frames == 50 && sent.sum == came.sum,
                "%s: %u frames sent, %u came, sums %08x and %08x", words, sent.frames, came.frames,
                sent.sum, came.sum);
  }
}

// What came through the socket is private as it is.
TEST(large_packets_are_not_copied_again) {
  const Scene scene;
  for (const auto& [words, copies] : {std::pair("mmap=no", 0), std::pair("mmap=auto", 1)}) {
    const Harness sink(scene.sink(words), "application/x-anything");
    const Harness source(scene.src());
    source.play();
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push(test::numbered(7, 1 << 20)), GST_FLOW_OK);
    const auto buffer = source.pull();
    fail_unless_equals_uint64(source.stat("buffers-copied"), static_cast<guint64>(copies));
    guint8 byte = 0;
    gst_buffer_extract(buffer.get(), (1 << 20) - 1, &byte, 1);
    fail_unless_equals_int(byte, 7);
  }
}

TEST(a_mistyped_word_is_an_error_that_names_them) {
  const Scene scene;
  for (const std::string& line : {scene.sink("mmap=yess"), scene.src("mmap=yess")}) {
    const Pipeline pipeline(line);
    fail_unless_equals_int(pipeline.set(GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
    const std::string error = pipeline.wait_error();
    fail_unless(test::contains(error, "mmap=yess is none of: auto, yes, both, no, read, write"),
                "%s", error.c_str());
  }
}
