// Any size: a file in large blocks, read straight into the arena; buffers of one byte and of none;
// what is more than max-memory. How many bytes of file there are says the environment, LARGE_BYTES.
#include <fcntl.h>

#include <atomic>
#include <cstdlib>
#include <random>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

constexpr guint64 kBlock = 64 << 20;
constexpr guint64 kMemory = 160'000'000;

// Sparse, with something at the beginning, at the end, around each block's end and here and there.
std::string make_file(const Scene& scene, guint64 size) {
  const std::string path = scene.path("large");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, static_cast<off_t>(size)), 0);
  std::mt19937_64 random(1);
  const auto put = [&](guint64 at) {
    const guint64 value = random();
    fail_unless(pwrite(fd, &value, sizeof value, static_cast<off_t>(at)) == sizeof value);
  };
  for (guint64 at = 0; at + kBlock < size; at += kBlock) {
    put(at);
    put(at + kBlock - 4);
    put(at + random() % kBlock);
  }
  put(size - sizeof(guint64));
  close(fd);
  return path;
}

// Of all that comes to a fakesink, in order.
class Sum {
 public:
  explicit Sum(const Pipeline& pipeline) {
    g_signal_connect(pipeline.element("end"), "handoff", G_CALLBACK(add), this);
  }
  Sum(const Sum&) = delete;
  Sum& operator=(const Sum&) = delete;
  ~Sum() { g_checksum_free(sum_); }
  std::string text() { return g_checksum_get_string(sum_); }

  GstElement* watched = nullptr;  // whose memory is looked at with each buffer
  std::atomic<guint64> most_memory{0};

 private:
  static void add(GstElement*, GstBuffer* buffer, GstPad*, gpointer data) {
    GstMapInfo map;
    auto& self = *static_cast<Sum*>(data);
    fail_unless(gst_buffer_map(buffer, &map, GST_MAP_READ));
    g_checksum_update(self.sum_, map.data, static_cast<gssize>(map.size));
    gst_buffer_unmap(buffer, &map);
    if (self.watched != nullptr)
      self.most_memory = std::max(self.most_memory.load(), test::stat(self.watched, "arena-bytes"));
  }
  GChecksum* sum_ = g_checksum_new(G_CHECKSUM_SHA1);
};

constexpr auto kEnd = " ! fakesink name=end sync=false signal-handoffs=true";

guint64 bytes_of_file() {
  const char* text = g_getenv("LARGE_BYTES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 5 * kBlock + 12'345;
}

}  // namespace

TEST(a_file_in_large_blocks) {
  const Scene scene;
  const std::string file = "filesrc blocksize=" + std::to_string(kBlock) +
                           " location=" + make_file(scene, bytes_of_file());
  const Pipeline whole(file + kEnd);
  Sum expected(whole);
  whole.play();
  const auto wait_eos = [](const Pipeline& pipeline) {
    const test::Ref<GstBus> bus(gst_element_get_bus(pipeline.get()));
    // As long as it takes: there may be a lot.
    const test::Ref<GstMessage> end(gst_bus_timed_pop_filtered(
        bus.get(), GST_CLOCK_TIME_NONE,
        static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR)));
    fail_unless_equals_int(GST_MESSAGE_TYPE(end.get()), GST_MESSAGE_EOS);
  };
  wait_eos(whole);

  const std::string memory = "max-memory=" + std::to_string(kMemory);
  const Pipeline reader(scene.src("name=src is-live=false " + memory) + kEnd);
  const Pipeline sender(file + " ! " + scene.sink("name=sink wait-for-connection=true " + memory));
  Sum came(reader);
  came.watched = sender.element("sink");
  reader.play();
  sender.play();
  wait_eos(reader);
  wait_eos(sender);
  fail_unless(came.text() == expected.text(), "what came is not what was sent");
  fail_unless(came.most_memory <= kMemory, "%" G_GUINT64_FORMAT " bytes", came.most_memory.load());
  // filesrc has read into the arena, but for what it read before there was a file to read into.
  const bool in_file = g_strcmp0(g_getenv("TEST_MMAP"), "path") == 0;
  fail_unless(test::stat(sender.element("sink"), "bytes-copied") <= (in_file ? kBlock : 0));
}

TEST(small_ones_and_none_among_large_ones) {
  const Scene scene;
  const Harness sink(scene.sink("max-memory=40000000"), "application/x-anything");
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  std::mt19937 random(2);
  for (guint64 i = 0; i < 200; ++i) {
    const gsize sizes[] = {0, 1, 2, 4095, 4096, 4097, 100'000, 1 + random() % 8'000'000};
    const gsize size = sizes[i % std::size(sizes)];
    fail_unless_equals_int(sink.push(test::numbered(i, size)), GST_FLOW_OK);
    const auto buffer = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(buffer.get()), i);
    fail_unless_equals_uint64(gst_buffer_get_size(buffer.get()), size);
    guint8 byte = static_cast<guint8>(i);
    if (size > 0) gst_buffer_extract(buffer.get(), size - 1, &byte, 1);
    fail_unless_equals_int(byte, static_cast<guint8>(i));
  }
  fail_unless(sink.stat("arena-bytes") <= 40'000'000);
}

// Nobody splits a buffer: what it is the end of only its maker knows.
TEST(what_is_more_than_max_memory_is_refused) {
  const Scene scene;
  const Harness sink(scene.sink("max-memory=8000000"), "application/x-anything");
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, 9'000'000, nullptr);
  fail_unless_equals_int(sink.push(buffer), GST_FLOW_ERROR);
  const std::string error = sink.wait_error();
  fail_unless(test::contains(error, "9000000 bytes are more than max-memory=8000000"), "%s",
              error.c_str());
}
