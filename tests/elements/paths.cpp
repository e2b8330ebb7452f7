// mmap=/path: payload in a file that each side opens by a path of its own.
#include <fcntl.h>

#include <filesystem>

#include "tests/elements/support.h"

using test::Harness;
using test::Pipeline;
using test::Scene;

namespace {

std::string text_stat(const Harness& of, const char* field) {
  return test::text_stat(of.element(), field);
}

struct Places {
  explicit Places(const Scene& scene) : here(scene.path("here")) {
    std::filesystem::create_directory(here);
  }
  std::string file(const char* name) const { return here + "/" + name; }
  // By its other name, as another container may have it.
  std::string also(const char* name) const {
    std::filesystem::create_hard_link(file(name), file("also"));
    return file("also");
  }
  size_t files() const {
    const std::filesystem::directory_iterator all(here);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  const std::string here;
};

struct Pair {
  Pair(const Scene& scene, const std::string& server, const std::string& client,
       const char* more = "", const char* caps = test::kVideo)
      : sink(scene.sink("mmap=" + server + " " + more), caps), source(scene.src("mmap=" + client)) {
    source.play();
    sink.wait_for_clients(1);
  }
  Harness sink, source;
};

}  // namespace

TEST(frames_stay_where_they_are) {
  const Scene scene;
  const Places places(scene);
  const Pair pair(scene, places.here, places.here);
  for (const auto& [end, field] :
       {std::pair(&pair.sink, "mode-send"), std::pair(&pair.source, "mode-receive")})
    fail_unless(text_stat(*end, field) == "path", "%s", field);
  // Both have it: nobody else is to find it.
  fail_unless_equals_int(static_cast<int>(places.files()), 0);
  for (guint64 i = 0; i < 50; ++i) {
    fail_unless_equals_int(pair.sink.push(pair.sink.acquire(i)), GST_FLOW_OK);
    fail_unless_equals_uint64(pair.source.pull_number(), i);
  }
  fail_unless_equals_uint64(pair.sink.stat("bytes-copied"), 0);
  fail_unless_equals_uint64(pair.source.stat("bytes-copied"), 0);
}

TEST(a_file_that_was_there_stays) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("device");
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, 4 << 20), 0);
  close(fd);
  {
    const std::string also = places.also("device");
    const Pair pair(scene, file, also);
    fail_unless_equals_int(pair.sink.push_number(5), GST_FLOW_OK);
    fail_unless_equals_uint64(pair.source.pull_number(), 5);
    // A file is for one link.
    const Harness other(scene.src("on-disconnect=error mmap=" + also));
    other.play();
    const std::string error = other.wait_error();
    fail_unless(test::contains(error, file) && test::contains(error, "in use by another link"),
                "%s", error.c_str());
  }
  fail_unless_equals_int(static_cast<int>(std::filesystem::file_size(file)), 4 << 20);
  std::filesystem::remove_all(places.here);
}

// What does not fit into a half of it is copied through the socket.
TEST(frames_larger_than_the_file_cross) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("small");
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, 200'000), 0);
  close(fd);
  const Pair pair(scene, file, file, "", "application/x-anything");
  for (guint64 i = 0; i < 20; ++i) {
    const gsize size = i % 2 == 0 ? 3'000'000 : 5'000;
    fail_unless_equals_int(pair.sink.push(test::numbered(i, size)), GST_FLOW_OK);
    const auto buffer = pair.source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(buffer.get()), i);
    fail_unless_equals_uint64(gst_buffer_get_size(buffer.get()), size);
    guint8 byte = 0;
    gst_buffer_extract(buffer.get(), size - 1, &byte, 1);
    fail_unless_equals_int(byte, static_cast<int>(i));
  }
}

// The second size wants the room of the first.
TEST(frames_of_other_sizes_in_little_room) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("small");
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, 8 << 20), 0);
  close(fd);
  const Pair pair(scene, file, file, "", "application/x-anything");
  guint64 number = 0;
  for (const gsize size : {1'600'000, 2'200'000, 100'000, 3'000'000})
    for (int i = 0; i < 10; ++i, ++number) {
      fail_unless_equals_int(pair.sink.push(test::numbered(number, size)), GST_FLOW_OK);
      fail_unless_equals_uint64(pair.source.pull_number(), number);
    }
}

// Not max-memory, which is far away.
TEST(a_file_that_is_too_small_is_named) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("small");
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, 20 * static_cast<off_t>(test::kVideoSize)), 0);
  close(fd);
  const Pair pair(scene, file, file);
  std::vector<test::Ref<GstBuffer>> held;
  GstFlowReturn flow = GST_FLOW_OK;
  for (guint64 i = 0; i < 20 && flow == GST_FLOW_OK; ++i) {
    flow = pair.sink.push(test::numbered(i, test::kVideoSize));
    if (flow == GST_FLOW_OK) held.push_back(pair.source.pull());
  }
  fail_unless_equals_int(flow, GST_FLOW_ERROR);
  const std::string error = pair.sink.wait_error();
  fail_unless(test::contains(error, file) && test::contains(error, "make that file larger"), "%s",
              error.c_str());
}

TEST(a_kept_file_serves_the_next_link_while_a_frame_is_held) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("kept");
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fail_unless_equals_int(ftruncate(fd, 4 << 20), 0);
  close(fd);
  const Harness source(scene.src("role=server mmap=" + file));
  source.play();
  std::vector<test::Ref<GstBuffer>> held;
  for (guint64 i = 0; i < 3; ++i) {
    const Harness sink(scene.sink("role=client mmap=" + file));
    fail_unless_equals_int(sink.push_number(i), GST_FLOW_OK);
    held.push_back(source.pull());
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(held.back().get()), i);
  }
  held.clear();
  std::filesystem::remove_all(places.here);
}

TEST(what_a_reader_holds_stays_when_the_sender_ends) {
  const Scene scene;
  const Places places(scene);
  const Harness source(scene.src("mmap=" + places.here + " on-disconnect=none"));
  source.play();
  test::Ref<GstBuffer> held;
  {
    const Harness sink(scene.sink("mmap=" + places.here));
    sink.wait_for_clients(1);
    fail_unless_equals_int(sink.push_number(9), GST_FLOW_OK);
    held = source.pull();
  }
  fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  guint8 byte = 0;
  gst_buffer_extract(held.get(), gst_buffer_get_size(held.get()) - 1, &byte, 1);
  fail_unless_equals_int(byte, 9);
}

TEST(several_readers_have_a_file_each) {
  const Scene scene;
  const Places places(scene);
  const Pair pair(scene, places.here, places.here);
  const Harness other(scene.src("mmap=" + places.here));
  other.play();
  pair.sink.wait_for_clients(2);
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(pair.sink.push(pair.sink.acquire(i)), GST_FLOW_OK);
    fail_unless_equals_uint64(pair.source.pull_number(), i);
    fail_unless_equals_uint64(other.pull_number(), i);
  }
}

// What the others are sent lies in the file of the first, who cuts it short.
TEST(a_reader_that_cuts_its_file_takes_nobody_along) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.here;
  const Harness sink(scene.sink("mmap=" + file));
  const Harness cutter(scene.src("mmap=" + file));
  cutter.play();
  sink.wait_for_clients(1);
  // It has no name any more: by what this process has open, before the other's is there, too.
  int cut = -1;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code none;
    const std::string target = std::filesystem::read_symlink(entry.path(), none);
    if (cut < 0 && test::contains(target, places.here + "/mmap-"))
      cut = open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
  }
  fail_unless(cut >= 0);
  const Harness other(scene.src("mmap=" + file));
  other.play();
  sink.wait_for_clients(2);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  cutter.pull_number();
  fail_unless_equals_uint64(other.pull_number(), 0);
  fail_unless_equals_int(ftruncate(cut, 0), 0);
  close(cut);
  // Some of it is zeros; whoever reads a file that is whole goes on.
  guint64 number = 1;
  fail_unless(test::becomes([&] {
    sink.push_number(number);
    const auto buffer = other.pull();
    return GST_BUFFER_OFFSET(buffer.get()) == number++ && sink.stat("peers") == 1;
  }));
  for (int i = 0; i < 10; ++i, ++number) {
    fail_unless_equals_int(sink.push_number(number), GST_FLOW_OK);
    fail_unless_equals_uint64(other.pull_number(), number);
  }
}

TEST(both_directions_lie_in_one_file) {
  const Scene scene;
  const Places places(scene);
  const Pipeline server(scene.src("role=server mmap=" + places.here + " ! identity ! ") +
                        scene.sink());
  server.play();
  const Pipeline client("videotestsrc num-buffers=50 ! video/x-raw,width=640,height=480 ! " +
                        scene.sink("name=sink role=client mmap=" + places.here) + "  " +
                        scene.src("name=back ! fakesink sync=false"));
  client.play();
  client.wait_eos();
  fail_unless_equals_uint64(test::stat(client.element("back"), "buffers"), 50);
  fail_unless_equals_uint64(test::stat(client.element("sink"), "bytes-copied"), 0);
}

TEST(a_path_on_one_side_only) {
  const Scene scene;
  const Places places(scene);
  {
    const Pair pair(scene, places.here, "auto");
    fail_unless(text_stat(pair.source, "mode-receive") == "inline");
    fail_unless(test::contains(text_stat(pair.source, "mode-receive-because"), "path at the peer"));
    fail_unless_equals_int(pair.sink.push_number(5), GST_FLOW_OK);
    fail_unless_equals_uint64(pair.source.pull_number(), 5);
  }
  const Harness sink(scene.sink("mmap=auto"));
  const Harness source(scene.src("mmap=" + places.here));
  source.play();
  const std::string error = source.wait_error();
  fail_unless(test::contains(error, "set mmap to its path there"), "%s", error.c_str());
}

TEST(what_is_wrong_with_a_path_is_said) {
  const Scene scene;
  const Places places(scene);
  std::filesystem::create_directory_symlink(places.here, scene.path("linked"));
  const std::pair<std::string, const char*> all[] = {
      {"/nowhere/at/all", "No such file or directory"},
      {scene.path("linked"), "symbolic link"},
      {"/dev/null/x", "Not a directory"}};
  for (const auto& [path, text] : all)
    for (const std::string& line : {scene.sink("mmap=" + path), scene.src("mmap=" + path)}) {
      const Pipeline pipeline(line);
      fail_unless_equals_int(pipeline.set(GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
      const std::string error = pipeline.wait_error();
      fail_unless(test::contains(error, path) && test::contains(error, text), "%s", error.c_str());
    }
  // What only a link shows: here the server's directory is another.
  const std::string other = scene.path("other");
  std::filesystem::create_directory(other);
  const Harness sink(scene.sink("mmap=" + places.here));
  const Harness source(scene.src("on-disconnect=error mmap=" + other));
  source.play();
  const std::string error = source.wait_error();
  fail_unless(test::contains(error, other) && test::contains(error, "No such file"), "%s",
              error.c_str());
  fail_unless(test::becomes([&] { return places.files() == 0; }), "a file was left behind");
}

// The client writes to its link's file what it likes, and cuts it: one that is read now is spoilt,
// the link ends, and the server goes on.
TEST(a_file_that_is_cut_short_ends_its_link) {
  const Scene scene;
  const Places places(scene);
  const std::string file = places.file("kept");
  close(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const Harness source(scene.src("role=server mmap=" + file));
  source.play();
  test::Ref<GstBuffer> held;
  {
    const Harness sink(scene.sink("role=client mmap=" + file));
    fail_unless_equals_int(sink.push_number(1), GST_FLOW_OK);
    held = source.pull();
    std::filesystem::resize_file(file, 0);
    GstMapInfo map;
    fail_unless(gst_buffer_map(held.get(), &map, GST_MAP_READ));
    fail_unless_equals_int(map.data[map.size - 1], 0);
    gst_buffer_unmap(held.get(), &map);
    fail_unless(test::becomes([&] { return source.stat("peers") == 0; }));
  }
  std::filesystem::remove(file);
  const Harness sink(scene.sink("role=client mmap=" + file));
  fail_unless_equals_int(sink.push_number(2), GST_FLOW_OK);
  fail_unless_equals_uint64(source.pull_number(), 2);
}
