// huge-pages=no|try|require: what stats say of it is so, and what can not be had is said.
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "lib/sealed.h"
#include "lib/system.h"
#include "tests/elements/support.h"

using test::Harness;
using test::Scene;

namespace {

constexpr auto kFullHd = "video/x-raw,format=I420,width=1920,height=1080,framerate=30/1";

struct Armed {
  Armed(mmaplink::sys::Call call, int code) { mmaplink::sys::arm(call, code); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
  ~Armed() { mmaplink::sys::disarm(); }
};

// What the kernel says of the arenas in this process: bytes mapped in such pages.
struct Mapped {
  guint64 hugetlb = 0, transparent = 0;
};

Mapped mapped() {
  std::ifstream maps("/proc/self/smaps");
  Mapped all;
  bool is_arena = false;
  for (std::string line; std::getline(maps, line);) {
    const auto number = [&] { return std::stoull(line.substr(line.find(':') + 1)) << 10; };
    if (test::contains(line, " rw-s ") || test::contains(line, " r--s ") ||
        test::contains(line, " r--p ") || test::contains(line, " rw-p "))
      is_arena = test::contains(line, "memfd:mmap-arena");
    if (!is_arena) continue;
    if (test::contains(line, "_Hugetlb:")) all.hugetlb += number();
    if (test::contains(line, "ShmemPmdMapped:")) all.transparent += number();
  }
  return all;
}

// The last of them, which keeps its arena.
test::Ref<GstBuffer> send_some(const Harness& sink, const Harness& source) {
  test::Ref<GstBuffer> last;
  for (guint64 i = 0; i < 20; ++i) {
    fail_unless_equals_int(sink.push(sink.acquire(i)), GST_FLOW_OK);
    last = source.pull();
    fail_unless_equals_uint64(GST_BUFFER_OFFSET(last.get()), i);
  }
  return last;
}

}  // namespace

// Both ends are here: each arena is mapped twice.
TEST(stats_say_what_there_is) {
  for (const std::string wish : {"no", "try", "require"}) {
    const Scene scene;
    const Harness sink(scene.sink("huge-pages=" + wish), kFullHd);
    const Harness source(scene.src());
    source.play();
    sink.wait_for_clients(1);
    if (wish == "require") {
      // Where there are none it is an error, which require_is_an_error() has.
      auto memory = mmaplink::make_sealed("probe", 1, mmaplink::HugePages::require);
      if (!memory) {
        g_print("none here: %s\n", memory.error().text.c_str());
        continue;
      }
    }
    const auto held = send_some(sink, source);
    const guint64 hugetlb = sink.stat("hugetlb-bytes");
    const guint64 thp = sink.stat("thp-bytes");
    const Mapped now = mapped();
    fail_unless(sink.stat("arena-bytes") > 0);
    g_print("huge-pages=%s: %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
            " of hugetlbfs, %" G_GUINT64_FORMAT " transparent\n",
            wish.c_str(), sink.stat("arena-bytes"), hugetlb, thp);
    fail_unless(hugetlb + thp <= sink.stat("arena-bytes"));
    fail_unless_equals_uint64(now.hugetlb, 2 * hugetlb);
    // A system may make all shared memory of transparent ones.
    fail_unless(now.transparent >= 2 * thp);
    fail_unless_equals_uint64(source.stat("hugetlb-bytes"), hugetlb);
    if (wish == "no") fail_unless_equals_uint64(hugetlb + thp, 0);
    if (wish == "require") fail_unless_equals_uint64(hugetlb + thp, sink.stat("arena-bytes"));
  }
}

TEST(try_takes_what_there_is) {
  const Scene scene;
  const Armed armed(mmaplink::sys::Call::huge_pages, ENODEV);
  const Harness sink(scene.sink("huge-pages=try"), kFullHd);
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  const auto held = send_some(sink, source);
  fail_unless(mmaplink::sys::failed() > 0);
  fail_unless(sink.stat("arena-bytes") > 0);
  fail_unless_equals_uint64(sink.stat("hugetlb-bytes") + sink.stat("thp-bytes"), 0);
}

TEST(require_is_an_error) {
  const Scene scene;
  const Armed armed(mmaplink::sys::Call::huge_pages, ENODEV);
  const Harness sink(scene.sink("huge-pages=require"), "application/x-anything");
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  fail_unless(sink.push_number(0) != GST_FLOW_OK);
  const std::string error = sink.wait_error();
  for (const char* part : {"Huge-pages=require", "memfd_create: No such device",
                           "MADV_COLLAPSE: No such device", "vm.nr_hugepages", "shmem_enabled"})
    fail_unless(test::contains(error, part), "no %s in: %s", part, error.c_str());
}

TEST(require_takes_room_for_one) {
  const Scene scene;
  const Harness sink(scene.sink("huge-pages=require max-memory=1000000"), "application/x-anything");
  const Harness source(scene.src());
  source.play();
  sink.wait_for_clients(1);
  fail_unless(sink.push_number(0) != GST_FLOW_OK);
  const std::string error = sink.wait_error();
  fail_unless(test::contains(error, "bytes in huge pages are more than max-memory=1000000"), "%s",
              error.c_str());
}

// What comes inline lies in memory of the source's own.
TEST(memory_of_a_source_lies_there_too) {
  for (const std::string wish : {"no", "try"}) {
    const Scene scene;
    const Harness sink(scene.sink("mmap=no"), kFullHd);
    const Harness source(scene.src("huge-pages=" + wish));
    source.play();
    sink.wait_for_clients(1);
    for (guint64 i = 0; i < 5; ++i) {
      fail_unless_equals_int(sink.push(test::numbered(i, 3110400)), GST_FLOW_OK);
      fail_unless_equals_uint64(source.pull_number(), i);
    }
    const guint64 hugetlb = source.stat("hugetlb-bytes");
    const guint64 thp = source.stat("thp-bytes");
    g_print("huge-pages=%s: %" G_GUINT64_FORMAT " of hugetlbfs, %" G_GUINT64_FORMAT
            " transparent\n",
            wish.c_str(), hugetlb, thp);
    if (wish == "no") fail_unless_equals_uint64(hugetlb + thp, 0);
    fail_unless_equals_uint64(sink.stat("hugetlb-bytes") + sink.stat("thp-bytes"), 0);
    // Twice, as above, and what of the sender's is no arena of a peer once.
    const Mapped now = mapped();
    fail_unless_equals_uint64(now.hugetlb, 2 * hugetlb);
    fail_unless(now.transparent >= 2 * thp);
  }
}

TEST(a_source_that_requires_them_says_so) {
  const Scene scene;
  const Armed armed(mmaplink::sys::Call::huge_pages, ENODEV);
  const Harness sink(scene.sink("mmap=no on-disconnect=none"), "application/x-anything");
  const Harness source(scene.src("huge-pages=require on-disconnect=error"));
  source.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  const std::string error = source.wait_error();
  fail_unless(test::contains(error, "uge-pages=require"), "%s", error.c_str());
}

// In a file it is for the file system to have them. tests/containers has one that does.
TEST(a_path_has_to_be_on_hugetlbfs) {
  const Scene scene;
  const std::string here = scene.path("here");
  std::filesystem::create_directory(here);
  const Harness sink(scene.sink("huge-pages=require max-memory=8388608 mmap=" + here),
                     "application/x-anything");
  const Harness source(scene.src("mmap=" + here));
  source.play();
  sink.wait_for_clients(1);
  fail_unless(sink.push_number(0) != GST_FLOW_OK);
  const std::string error = sink.wait_error();
  fail_unless(test::contains(error, "is not on hugetlbfs"), "%s", error.c_str());
}

// Set in READY, it is for what is made from there on.
TEST(it_may_be_set_in_ready) {
  const Scene scene;
  const Harness sink(scene.sink("mmap=no"), "application/x-anything");
  const test::Pipeline reader(scene.src("name=src on-disconnect=error huge-pages=no") +
                              " ! fakesink async=false");
  reader.set(GST_STATE_READY);
  gst_util_set_object_arg(G_OBJECT(reader.element("src")), "huge-pages", "require");
  const Armed armed(mmaplink::sys::Call::huge_pages, ENODEV);
  reader.play();
  sink.wait_for_clients(1);
  fail_unless_equals_int(sink.push_number(0), GST_FLOW_OK);
  const std::string error = reader.wait_error();
  fail_unless(test::contains(error, "uge-pages=require"), "%s", error.c_str());
}
