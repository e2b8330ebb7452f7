// Memory that is not of this link: what came over another one, and what elements share already. It
// crosses as it is, and is let go of when the last process has.
#include <fcntl.h>
#include <gst/allocators/gstdmabuf.h>
#include <gst/allocators/gstfdmemory.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gst/gstmmapmemory.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

std::string at(const Scene& scene, const char* element, const char* name, const char* more = "") {
  return element + (" socket-path=" + scene.path(name) + " ") + more + " ";
}

ino_t inode_of(GstBuffer* buffer) {
  struct stat st {};
  const int fd = gst_mmap_memory_get_fd(gst_buffer_peek_memory(buffer, 0));
  fail_unless(fd >= 0 && fstat(fd, &st) == 0);
  return st.st_ino;
}

// A frame of the proposed pool, as v4l2src has it: with the allocator of the answer, and with what
// a reader wants in front of each frame.
test::Ref<GstBuffer> as_v4l2src_has_it(const Harness& sink) {
  const auto query = sink.ask_allocation();
  GstBufferPool* pool = nullptr;
  GstAllocator* allocator = nullptr;
  GstAllocationParams params;
  gst_query_parse_nth_allocation_pool(query.get(), 0, &pool, nullptr, nullptr, nullptr);
  gst_query_parse_nth_allocation_param(query.get(), 0, &allocator, &params);
  params.prefix = 16;
  GstStructure* config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_allocator(config, allocator, &params);
  gst_buffer_pool_set_config(pool, config);
  fail_unless(gst_buffer_pool_set_active(pool, TRUE));
  GstBuffer* buffer = nullptr;
  fail_unless_equals_int(gst_buffer_pool_acquire_buffer(pool, &buffer, nullptr), GST_FLOW_OK);
  gst_buffer_pool_set_active(pool, FALSE);
  gst_object_unref(pool);
  gst_object_unref(allocator);
  return test::Ref<GstBuffer>(buffer);
}

// A camera, a relay, and who looks at it.
struct Chain {
  explicit Chain(const Scene& scene)
      : camera(at(scene, "mmapsink", "one")),
        relay(at(scene, "mmapsrc", "one", "name=in ! queue max-size-buffers=2 !") +
              at(scene, "mmapsink", "two", "name=out wait-for-connection=true")),
        reader(at(scene, "mmapsrc", "two")) {
    relay.play();
    reader.play();
    camera.wait_for_clients(1);
  }
  guint64 copied() const {
    return camera.stat("bytes-copied") + test::stat(relay.element("in"), "bytes-copied") +
           test::stat(relay.element("out"), "bytes-copied") + reader.stat("bytes-copied");
  }
  const Harness camera;
  const Pipeline relay;
  const Harness reader;
};

// A buffer of memory that the test has, from its second page on.
GstBuffer* of_memfd(int fd, gsize size, guint64 number) {
  static GstAllocator* const allocator = [] {
    GstAllocator* made = gst_fd_allocator_new();
    GST_OBJECT_FLAG_SET(made, GST_OBJECT_FLAG_MAY_BE_LEAKED);
    return made;
  }();
  GstMemory* memory =
      gst_fd_allocator_alloc(allocator, dup(fd), 4096 + test::kVideoSize, GST_FD_MEMORY_FLAG_NONE);
  gst_memory_resize(memory, 4096, size);
  GstBuffer* buffer = gst_buffer_new();
  gst_buffer_append_memory(buffer, memory);
  GST_BUFFER_OFFSET(buffer) = number;
  return buffer;
}

int make_memfd(guint8 value, int seals) {
  const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const gsize whole = (4096 + test::kVideoSize + 4095) / 4096 * 4096;
  std::vector<guint8> bytes(whole, value);
  fail_unless_equals_int(write(fd, bytes.data(), whole), static_cast<int>(whole));
  fail_unless(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
  return fd;
}

}  // namespace

TEST(a_relay_copies_nothing) {
  const Scene scene;
  const Chain chain(scene);
  for (guint64 i = 0; i < 100; ++i) {
    GstBuffer* sent = chain.camera.acquire(i);
    const ino_t inode = inode_of(sent);
    fail_unless_equals_int(chain.camera.push(sent), GST_FLOW_OK);
    const auto came = chain.reader.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), i);
    fail_unless_equals_uint64(inode_of(came.get()), inode);
    guint8 byte = 0;
    gst_buffer_extract(came.get(), test::kVideoSize - 1, &byte, 1);
    fail_unless_equals_int(byte, static_cast<int>(i));
  }
  fail_unless_equals_uint64(chain.copied(), 0);
  fail_unless(chain.relay.errors().empty());
}

TEST(what_the_last_process_holds_is_the_cameras) {
  const Scene scene;
  const Chain chain(scene);
  std::vector<test::Ref<GstBuffer>> held;
  for (guint64 i = 0; i < 3; ++i) {
    fail_unless_equals_int(chain.camera.push(chain.camera.acquire(i)), GST_FLOW_OK);
    held.push_back(chain.reader.pull());
  }
  fail_unless(test::becomes([&] { return chain.camera.stat("in-flight") == 3; }));
  held.pop_back();
  fail_unless(test::becomes([&] { return chain.camera.stat("in-flight") == 2; }));
  held.clear();
  fail_unless(test::becomes([&] { return chain.camera.stat("in-flight") == 0; }));
}

TEST(whoever_ends_lets_go_of_it) {
  const Scene scene;
  for (const bool relay_ends : {false, true}) {
    const Harness camera(at(scene, "mmapsink", "one"));
    auto relay =
        std::make_unique<Pipeline>(at(scene, "mmapsrc", "one", "!") +
                                   at(scene, "mmapsink", "two", "wait-for-connection=true"));
    auto reader = std::make_unique<Harness>(at(scene, "mmapsrc", "two", "on-disconnect=none"));
    relay->play();
    reader->play();
    camera.wait_for_clients(1);
    test::Ref<GstBuffer> held;
    for (guint64 i = 0; i < 3; ++i) {
      fail_unless_equals_int(camera.push(camera.acquire(i)), GST_FLOW_OK);
      held = reader->pull();
    }
    if (relay_ends)
      relay.reset();
    else
      reader.reset();
    fail_unless(test::becomes([&] { return camera.stat("in-flight") == 0; }));
    guint8 byte = 1;
    gst_buffer_extract(held.get(), 0, &byte, 1);
    fail_unless_equals_int(byte, 2);
  }
}

// A tree: one camera, two relays, two readers of each.
TEST(a_tree_copies_nothing) {
  const Scene scene;
  const Harness camera(at(scene, "mmapsink", "root"));
  const std::string relay = at(scene, "mmapsrc", "root", "!");
  const Pipeline left(relay + at(scene, "mmapsink", "left", "name=out wait-for-connection=true"));
  const Pipeline right(relay + at(scene, "mmapsink", "right", "name=out wait-for-connection=true"));
  const Harness a(at(scene, "mmapsrc", "left"));
  const Harness b(at(scene, "mmapsrc", "left"));
  const Harness c(at(scene, "mmapsrc", "right"));
  const Harness d(at(scene, "mmapsrc", "right"));
  left.play();
  right.play();
  for (const Harness* reader : {&a, &b, &c, &d}) reader->play();
  for (const Pipeline* one : {&left, &right})
    fail_unless(test::becomes([&] { return test::stat(one->element("out"), "peers") == 2; }));
  camera.wait_for_clients(2);
  for (guint64 i = 0; i < 50; ++i) {
    GstBuffer* sent = camera.acquire(i);
    const ino_t inode = inode_of(sent);
    fail_unless_equals_int(camera.push(sent), GST_FLOW_OK);
    for (const Harness* reader : {&a, &b, &c, &d}) {
      const auto came = reader->pull();
      fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), i);
      fail_unless_equals_uint64(inode_of(came.get()), inode);
    }
  }
  for (const Pipeline* one : {&left, &right})
    fail_unless_equals_uint64(test::stat(one->element("out"), "bytes-copied"), 0);
}

// The camera's memory for the larger frames is given back by all.
TEST(memory_that_the_camera_gives_back_is_given_back_by_all) {
  const Scene scene;
  const Pipeline camera(
      "videotestsrc is-live=true ! capsfilter name=size caps=video/x-raw,width=1280,height=720 ! " +
      at(scene, "mmapsink", "one", "name=sink"));
  const Pipeline relay(at(scene, "mmapsrc", "one", "! ") + at(scene, "mmapsink", "two"));
  const Pipeline reader(at(scene, "mmapsrc", "two", "name=src ! fakesink async=false"));
  relay.play();
  reader.play();
  camera.play();
  const auto bytes = [&] { return test::stat(reader.element("src"), "arena-bytes"); };
  constexpr guint64 kOfSmallFrames = 8 << 20;
  fail_unless(test::becomes([&] { return bytes() > kOfSmallFrames; }));
  GstCaps* caps = gst_caps_from_string("video/x-raw,width=64,height=48");
  g_object_set(camera.element("size"), "caps", caps, nullptr);
  gst_caps_unref(caps);
  fail_unless(test::becomes([&] { return bytes() > 0 && bytes() <= kOfSmallFrames; }), "%d bytes",
              static_cast<int>(bytes()));
  fail_unless(relay.errors().empty() && reader.errors().empty());
}

TEST(sealed_memory_crosses_as_it_is) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  const int fd = make_memfd(9, kAllSeals);
  struct stat st {};
  fail_unless_equals_int(fstat(fd, &st), 0);
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(sink.push(of_memfd(fd, test::kVideoSize, i)), GST_FLOW_OK);
    const auto came = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), i);
    fail_unless_equals_uint64(inode_of(came.get()), st.st_ino);
    fail_unless_equals_uint64(gst_mmap_memory_get_offset(gst_buffer_peek_memory(came.get(), 0)),
                              4096);
    guint8 byte = 0;
    gst_buffer_extract(came.get(), 5, &byte, 1);
    fail_unless_equals_int(byte, 9);
  }
  close(fd);
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
  fail_unless_equals_uint64(source.stat("arenas"), 1);
}

TEST(memory_that_may_change_is_copied) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  guint64 number = 0;
  for (const int seals : {0, F_SEAL_SHRINK | F_SEAL_GROW, kAllSeals & ~F_SEAL_SHRINK}) {
    const int fd = make_memfd(7, seals);
    fail_unless_equals_int(sink.push(of_memfd(fd, test::kVideoSize, number)), GST_FLOW_OK);
    close(fd);
    const auto came = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), number++);
    fail_unless_equals_uint64(sink.stat("buffers-copied"), number);
  }
}

// Each of them has a descriptor on both sides: a pool without end does not use them up.
TEST(descriptors_have_a_bound) {
  const Scene scene;
  const Harness sink(scene.sink());
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  const auto before = Scene::open_now();
  for (guint64 i = 0; i < 300; ++i) {
    const int fd = make_memfd(static_cast<guint8>(i), kAllSeals);
    fail_unless_equals_int(sink.push(of_memfd(fd, test::kVideoSize, i)), GST_FLOW_OK);
    close(fd);
    const auto came = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), i);
  }
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
  const auto now = Scene::open_now();
  fail_unless(now.files < before.files + 100, "%s, then %s", before.text().c_str(),
              now.text().c_str());
}

// There is none to be had everywhere: what is one is tested in tests/camera.
TEST(dmabufs_are_for_links_that_map) {
  const Scene scene;
  for (const auto& [mode, expected] : {std::pair("mmap=auto", true), std::pair("mmap=no", false)}) {
    const Pipeline sender("videotestsrc ! " + scene.sink("name=sink wait-for-connection=true"));
    const Pipeline reader(
        scene.src(mode) +
        " ! capsfilter caps=\"video/x-raw(memory:DMABuf,meta:x);video/x-raw,width=64\" ! fakesink "
        "async=false");
    reader.play();
    sender.play();
    fail_unless(test::becomes([&] { return test::stat(sender.element("sink"), "buffers") > 0; }));
    GstPad* pad = gst_element_get_static_pad(sender.element("sink"), "sink");
    const test::Ref<GstCaps> caps(gst_pad_query_caps(pad, nullptr));
    gst_object_unref(pad);
    gchar* text = gst_caps_to_string(caps.get());
    fail_unless(test::contains(text, "memory:DMABuf") == expected, "%s", text);
    fail_unless(test::contains(text, "64"), "%s", text);
    g_free(text);
  }
}

// Where there is the driver, frames of ordinary memory are dmabufs; else it is said what is
// missing.
TEST(udmabufs_are_made_or_missed) {
  const Scene scene;
  if (access("/dev/udmabuf", R_OK | W_OK) != 0) {
    const Pipeline sink(scene.sink("udmabuf=true"));
    fail_unless_equals_int(sink.set(GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
    const std::string error = sink.wait_error();
    fail_unless(test::contains(error, "/dev/udmabuf"), "%s", error.c_str());
    return;
  }
  const Harness sink(scene.sink("udmabuf=true"));
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  for (guint64 i = 0; i < 100; ++i) {
    fail_unless_equals_int(sink.push(sink.acquire(i)), GST_FLOW_OK);
    const auto came = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(came.get()), i);
    fail_unless(gst_is_dmabuf_memory(gst_buffer_peek_memory(came.get(), 0)));
  }
  fail_unless_equals_uint64(sink.stat("bytes-copied"), 0);
  const auto frame = as_v4l2src_has_it(sink);
  GstMemory* memory = gst_buffer_peek_memory(frame.get(), 0);
  fail_unless(gst_is_dmabuf_memory(memory));
  fail_unless_equals_uint64(memory->offset, 0);
}
