// A GstMmapServer and its clients in one process: who gets what, who is refused, and what is left.
#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "gst/mmap.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Ref;
using test::Scene;

namespace {

// A server on the scene's path, and what it told.
class Serving {
 public:
  explicit Serving(const Scene& scene) : server_(gst_mmap_server_new()) {
    const std::string path = scene.path();
    const gchar* paths[] = {path.c_str(), nullptr};
    g_object_set(server_, "socket-paths", paths, nullptr);
    g_signal_connect(server_, "client-connected", G_CALLBACK(connected), this);
    g_signal_connect(server_, "media-constructed", G_CALLBACK(constructed), this);
    g_signal_connect(server_, "client-disconnected", G_CALLBACK(disconnected), this);
    g_signal_connect(server_, "error", G_CALLBACK(failed), this);
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  ~Serving() {
    // Until it has stopped, one who came and left may still be given a pipeline, and told of.
    gst_mmap_server_stop(server_);
    g_object_unref(server_);
    for (GstElement* one : pipelines_) gst_object_unref(one);
  }

  GstMmapServer* get() const { return server_; }
  const Serving& add(const char* name, const char* launch, const char* allow = nullptr) const {
    GError* error = nullptr;
    gst_mmap_server_add_profile(server_, name, launch, allow, &error);
    fail_unless(error == nullptr, "%s", error != nullptr ? error->message : "");
    return *this;
  }
  void start() const {
    GError* error = nullptr;
    gst_mmap_server_start(server_, &error);
    fail_unless(error == nullptr, "%s", error != nullptr ? error->message : "");
  }
  std::string cannot_start() const {
    GError* error = nullptr;
    fail_if(gst_mmap_server_start(server_, &error));
    std::string text = error->message;
    g_error_free(error);
    return text;
  }
  guint num_clients() const {
    guint count = 0;
    g_object_get(server_, "num-clients", &count, nullptr);
    return count;
  }
  void wait_for_clients(guint count) const {
    fail_unless(test::becomes([&] { return num_clients() == count; }));
  }
  // Waits for so many of them.
  std::vector<std::string> told(size_t count) {
    fail_unless(test::becomes([&] {
      const std::lock_guard lock(mutex_);
      return told_.size() >= count;
    }));
    const std::lock_guard lock(mutex_);
    return told_;
  }
  // The first client's first element of that factory.
  GstElement* element(const char* factory) {
    const std::lock_guard lock(mutex_);
    fail_unless(!pipelines_.empty());
    GstIterator* all = gst_bin_iterate_recurse(GST_BIN(pipelines_.front()));
    GValue found = G_VALUE_INIT;
    const auto compare = [](gconstpointer item, gconstpointer name) -> gint {
      auto* element = GST_ELEMENT(g_value_get_object(static_cast<const GValue*>(item)));
      return g_strcmp0(GST_OBJECT_NAME(gst_element_get_factory(element)),
                       static_cast<const gchar*>(name));
    };
    fail_unless(gst_iterator_find_custom(all, compare, &found, const_cast<gchar*>(factory)));
    gst_iterator_free(all);
    auto* element = GST_ELEMENT(g_value_get_object(&found));
    g_value_unset(&found);  // its pipeline has it
    return element;
  }

 private:
  void tell(std::string text) {
    const std::lock_guard lock(mutex_);
    told_.push_back(std::move(text));
  }
  static void connected(GstMmapServer*, guint client, guint pid, guint uid, const gchar* profile,
                        Serving* self) {
    fail_unless(pid == static_cast<guint>(getpid()) && uid == geteuid());
    self->tell("connected " + std::to_string(client) + " " + profile);
  }
  static void constructed(GstMmapServer*, guint client, GstElement* pipeline, Serving* self) {
    fail_unless(GST_IS_PIPELINE(pipeline));
    self->tell("constructed " + std::to_string(client));
    const std::lock_guard lock(self->mutex_);
    self->pipelines_.push_back(GST_ELEMENT(gst_object_ref(pipeline)));
  }
  static void disconnected(GstMmapServer*, guint client, const gchar* why, Serving* self) {
    self->tell("disconnected " + std::to_string(client) + " " + why);
  }
  static void failed(GstMmapServer*, guint client, const gchar* text, Serving* self) {
    self->tell("error " + std::to_string(client) + " " + text);
  }

  GstMmapServer* const server_;
  std::mutex mutex_;
  std::vector<std::string> told_;
  std::vector<GstElement*> pipelines_;
};

// A client's pipeline, with so many frames, or without end.
std::string client_line(const Scene& scene, const std::string& properties = "",
                        const std::string& source = "num-buffers=5",
                        const std::string& caps = test::kVideo) {
  return "videotestsrc " + source + " ! " + caps + " ! " +
         scene.sink("name=sink role=client " + properties) + " " +
         scene.src("name=back " + properties) + " ! fakesink name=end async=false";
}

void has(const std::string& text, const std::string& part) {
  fail_unless(test::contains(text, part), "'%s' is not in: %s", part.c_str(), text.c_str());
}

bool comes_back(const Pipeline& client, guint64 buffers) {
  return test::becomes([&] { return test::stat(client.element("back"), "buffers") >= buffers; });
}

std::string wait_warning(const Pipeline& client) {
  const auto message = client.wait(GST_MESSAGE_WARNING);
  GError* error = nullptr;
  gst_message_parse_warning(message.get(), &error, nullptr);
  std::string text = error->message;
  g_error_free(error);
  return text;
}

constexpr auto kLive = "is-live=true";

}  // namespace

TEST(each_client_gets_a_pipeline_of_its_own) {
  const Scene scene;
  Serving serving(scene);
  serving.add("plain", "identity").start();
  {
    const Pipeline one(client_line(scene));
    const Pipeline two(client_line(scene, "", kLive));
    one.play();
    one.wait_eos();
    fail_unless_equals_uint64(test::stat(one.element("back"), "buffers"), 5);
    two.play();
    fail_unless(comes_back(two, 5));
    fail_unless_equals_int(serving.num_clients(), 2);
  }
  serving.wait_for_clients(0);
  const auto told = serving.told(6);
  fail_unless(told[0] == "connected 1 plain", "%s", told[0].c_str());
  fail_unless(told[1] == "constructed 1", "%s", told[1].c_str());
  fail_unless(told[2] == "connected 2 plain" && told[3] == "constructed 2");
  const std::set<std::string> ends(told.begin() + 4, told.end());
  fail_unless(ends == std::set<std::string>({"disconnected 1 it left", "disconnected 2 it left"}));
}

TEST(an_application_makes_the_element) {
  const Scene scene;
  Serving serving(scene);
  static std::atomic<int> made{0};
  g_signal_connect(serving.get(), "construct",
                   G_CALLBACK(+[](GstMmapServer*, guint, const gchar* profile, gpointer) {
                     fail_unless_equals_string(profile, "mine");
                     ++made;
                     return gst_element_factory_make("identity", "made");
                   }),
                   nullptr);
  serving.add("mine", nullptr).start();
  const Pipeline client(client_line(scene));
  client.play();
  client.wait_eos();
  fail_unless_equals_int(made, 1);
  const Ref<GstElement> parent(
      GST_ELEMENT(gst_object_get_parent(GST_OBJECT(serving.element("identity")))));
  fail_unless(GST_IS_PIPELINE(parent.get()));
}

TEST(a_stream_may_end_over_there) {
  const Scene scene;
  const std::string file = scene.directory() + "/out";
  Serving serving(scene);
  serving.add("file", ("filesink location=" + file).c_str()).start();
  {
    const Pipeline client("videotestsrc num-buffers=5 ! " + std::string(test::kVideo) + " ! " +
                          scene.sink("role=client"));
    client.play();
    client.wait_eos();
  }
  serving.wait_for_clients(0);
  gchar* bytes = nullptr;
  gsize size = 0;
  fail_unless(g_file_get_contents(file.c_str(), &bytes, &size, nullptr));
  g_free(bytes);
  fail_unless_equals_uint64(size, 5 * test::kVideoSize);
}

TEST(who_is_too_many_is_told_so_and_gets_in_later) {
  const Scene scene;
  Serving serving(scene);
  g_object_set(serving.get(), "max-clients", 1, nullptr);
  serving.add("plain", "identity").start();
  auto first = std::make_unique<Pipeline>(client_line(scene, "", kLive));
  first->play();
  fail_unless(comes_back(*first, 1));
  {
    const Pipeline refused(client_line(scene));
    refused.set(GST_STATE_PLAYING);
    has(refused.wait_error(), "serving as many clients as it may, max-clients=1");
  }
  const Pipeline waits(client_line(scene, "on-disconnect=none", kLive));
  waits.set(GST_STATE_PLAYING);
  has(wait_warning(waits), "max-clients=1. Trying again");
  first.reset();
  fail_unless(comes_back(waits, 1));
  fail_unless(waits.errors().empty());
}

TEST(memory_is_reckoned) {
  const Scene scene;
  Serving serving(scene);
  g_object_set(serving.get(), "client-memory", guint64{32 << 20}, "max-memory", guint64{127 << 20},
               nullptr);
  serving.add("plain", "identity").start();
  const Pipeline one(client_line(scene, "", kLive));
  one.play();
  fail_unless(comes_back(one, 1));
  for (const char* name : {"mmapsink", "mmapsrc"}) {
    guint64 memory = 0;
    g_object_get(serving.element(name), "max-memory", &memory, nullptr);
    fail_unless_equals_uint64(memory, 32 << 20);
  }
  const Pipeline two(client_line(scene));
  two.set(GST_STATE_PLAYING);
  has(two.wait_error(), "max-memory=133169152 has room for, where each is reckoned with 67108864");
}

TEST(pixels_are_counted) {
  const Scene scene;
  Serving serving(scene);
  g_object_set(serving.get(), "max-pixel-rate", guint64{100 * 100 * 50}, nullptr);
  serving.add("plain", "identity").start();
  const auto caps = [](int frames) {
    return "video/x-raw,format=I420,width=100,height=100,framerate=" + std::to_string(frames) +
           "/1";
  };
  auto one = std::make_unique<Pipeline>(client_line(scene, "", kLive, caps(30)));
  one->play();
  fail_unless(comes_back(*one, 1));
  const std::string text =
      "no room for 300000 raw pixels a second: max-pixel-rate=500000, of which 200000 are left";
  {
    const Pipeline two(client_line(scene, "", kLive, caps(30)));
    two.play();
    has(two.wait_error(), text);
    fail_unless_equals_uint64(test::stat(two.element("back"), "buffers"), 0);
  }
  serving.wait_for_clients(1);
  const Pipeline third(client_line(scene, "", kLive, caps(20)));
  third.play();
  fail_unless(comes_back(third, 1));
  one.reset();
  serving.wait_for_clients(1);
  const Pipeline fourth(client_line(scene, "", kLive, caps(30)));
  fourth.play();
  fail_unless(comes_back(fourth, 1));
}

TEST(what_fails_at_the_start_is_said_to_the_client) {
  const Scene scene;
  Serving serving(scene);
  serving.add("file", "identity ! filesink location=/none/there").start();
  const Pipeline client(client_line(scene));
  client.set(GST_STATE_PLAYING);
  const std::string error = client.wait_error();
  has(error, "the server's pipeline can't be made ready: filesink");
  has(error, "/none/there");
  has(serving.told(3)[2], "error 1 the server's pipeline can't be made ready");
}

TEST(an_error_of_one_is_its_own) {
  const Scene scene;
  Serving serving(scene);
  serving.add("plain", "identity").add("bad", "identity error-after=3").start();
  g_object_set(serving.get(), "default-profile", "plain", nullptr);
  const Pipeline good(client_line(scene, "", kLive));
  good.play();
  fail_unless(comes_back(good, 1));
  g_object_set(serving.get(), "default-profile", "bad", nullptr);
  {
    const Pipeline bad(client_line(scene, "", kLive));
    bad.play();
    has(bad.wait_error(), "Failed after iterations as requested");
  }
  serving.wait_for_clients(1);
  fail_unless(comes_back(good, test::stat(good.element("back"), "buffers") + 5));
  fail_unless(good.errors().empty());
}

// As mmapremote sends them.
void send_params(const Pipeline& client, const char* params) {
  const Ref<GstPad> pad(gst_element_get_static_pad(client.element("sink"), "sink"));
  gst_pad_send_event(
      pad.get(), gst_event_new_custom(
                     GST_EVENT_CUSTOM_DOWNSTREAM_OOB,
                     gst_structure_new("GstMmapParams", "params", G_TYPE_STRING, params, nullptr)));
}

TEST(parameters_change_while_playing) {
  const Scene scene;
  Serving serving(scene);
  serving.add("balance", "videobalance", "contrast=0.5..1.5,qos").start();
  const Pipeline client(client_line(scene, "", kLive));
  client.play();
  fail_unless(comes_back(client, 2));
  const auto contrast = [&] {
    gdouble value = 0;
    g_object_get(serving.element("videobalance"), "contrast", &value, nullptr);
    return value;
  };
  send_params(client, "contrast=0.75");
  fail_unless(test::becomes([&] { return contrast() == 0.75; }));
  // Also known to the client, which nothing of it harms.
  const std::pair<const char*, const char*> sins[] = {
      {"contrast=1.6", "The parameter contrast may not be 1.6; allowed: contrast=0.5..1.5, qos"},
      {"hue=0", "The parameter hue may not be set; allowed: contrast=0.5..1.5, qos"},
      {"qos=true", "The parameter qos can't be changed while playing; allowed: "},
      {"garbage", "'garbage' in a request is not name=value"},
  };
  for (const auto& [params, text] : sins) {
    send_params(client, params);
    has(wait_warning(client), text);
  }
  send_params(client, "contrast=1.25");
  fail_unless(test::becomes([&] { return contrast() == 1.25; }));
  fail_unless(comes_back(client, test::stat(client.element("back"), "buffers") + 2));
  fail_unless(client.errors().empty());
}

TEST(a_drain_ends_each_stream) {
  const Scene scene;
  Serving serving(scene);
  // It holds frames that are to come all the same.
  serving.add("held", "queue min-threshold-buffers=20 max-size-buffers=50").start();
  const Pipeline client(client_line(scene, "", kLive));
  client.play();
  serving.told(2);
  auto paused = std::make_unique<Pipeline>(client_line(scene, "", kLive));
  paused->set(GST_STATE_PAUSED);
  serving.wait_for_clients(2);
  fail_unless(comes_back(client, 5));
  gst_mmap_server_drain(serving.get());
  client.wait_eos();
  // All that the server took.
  const guint64 came = test::stat(client.element("back"), "buffers");
  fail_unless(came >= 20);
  fail_unless_equals_uint64(came, test::stat(serving.element("mmapsrc"), "buffers"));
  // One that reads nothing is waited for, as long as the application likes.
  serving.wait_for_clients(1);
  paused.reset();
  serving.wait_for_clients(0);
  {
    const Pipeline late(client_line(scene, "connection-timeout=100000000"));
    late.set(GST_STATE_PLAYING);
    has(late.wait_error(), "No server was on");
  }
}

TEST(a_stop_hangs_up_and_a_start_begins_anew) {
  const Scene scene;
  Serving serving(scene);
  serving.add("plain", "identity");
  for (int i = 0; i < 3; ++i) {
    serving.start();
    has(serving.cannot_start(), "This server has started already");
    const Pipeline client(client_line(scene, "", kLive));
    client.play();
    fail_unless(comes_back(client, 1));
    gst_mmap_server_stop(serving.get());
    fail_unless_equals_int(serving.num_clients(), 0);
    has(client.wait_error(), scene.path());
    fail_unless(access(scene.path().c_str(), F_OK) != 0);
  }
}

TEST(what_makes_no_sense_is_not_started) {
  const Scene scene;
  const Serving serving(scene);
  has(serving.cannot_start(), "There is no profile to serve");
  GError* error = nullptr;
  const auto refused = [&](const char* name, const char* launch, const char* allow) {
    fail_if(gst_mmap_server_add_profile(serving.get(), name, launch, allow, &error));
    std::string text = error->message;
    g_clear_error(&error);
    return text;
  };
  has(refused("x", "nothere", nullptr), "Profile 'x': the launch line 'nothere': no element");
  has(refused("x", "videotestsrc", nullptr), "'videotestsrc' has no sink pad");
  has(refused("x", "identity", "bitrate"), "has the property bitrate");
  has(refused("x", "identity", "a=="), "has the property a");
  has(refused("", "identity", nullptr), "a name that no client could ask for");
  has(refused("a\nb", "identity", nullptr), "a name that no client could ask for");
  serving.add("plain", "identity");
  g_object_set(serving.get(), "mmap", "yess", nullptr);
  has(serving.cannot_start(), "mmap=yess is none of");
  g_object_set(serving.get(), "mmap", "yes", "group", "no such group", nullptr);
  has(serving.cannot_start(), "no such group");
  g_object_set(serving.get(), "group", nullptr, "allowed-uids", "a", nullptr);
  serving.cannot_start();
  const gchar* nowhere[] = {"/none/there", nullptr};
  g_object_set(serving.get(), "allowed-uids", nullptr, "socket-paths", nowhere, nullptr);
  has(serving.cannot_start(), "The directory /none of socket-path /none/there");
  const gchar* none[] = {nullptr};
  g_object_set(serving.get(), "socket-paths", none, nullptr);
  has(serving.cannot_start(), "No socket-path is set");
  fail_unless(gst_mmap_server_remove_profile(serving.get(), "plain"));
  fail_if(gst_mmap_server_remove_profile(serving.get(), "plain"));
}

TEST(a_hundred_clients_leave_nothing) {
  const Scene outer;
  const auto all = [](const Scene& scene, int count) {
    Serving serving(scene);
    serving.add("plain", "identity").start();
    for (int i = 0; i < count; ++i) {
      const Pipeline client(client_line(scene, "", "num-buffers=1"));
      client.play();
      if (i % 2 == 0) client.wait_eos();
    }
    serving.wait_for_clients(0);
  };
  all(outer, 1);
  const Scene scene;
  all(scene, 100);
}
