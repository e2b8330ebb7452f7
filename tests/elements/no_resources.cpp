// Where the system has no more memory, descriptors or threads, an element says so, and works again
// when there are some. Every call that asks for any is made to fail, at its first use and later.
#include <cerrno>
#include <cstring>

#include "lib/system.h"
#include "tests/elements/support.h"

using mmaplink::sys::Call;
using test::Pipeline;
using test::Scene;

namespace {

struct Fault {
  Call call;
  int code;
  const char* name;
};
constexpr Fault kFaults[] = {
    {Call::memfd_create, EMFILE, "memfd_create"},
    {Call::ftruncate, ENOMEM, "ftruncate"},
    {Call::fallocate, ENOSPC, "fallocate"},
    {Call::mmap, ENOMEM, "mmap"},
    {Call::populate, ENOMEM, "populate"},
    {Call::seal, ENOMEM, "seal"},
    {Call::open, ENFILE, "open"},
    {Call::socket, EMFILE, "socket"},
    {Call::accept, EMFILE, "accept"},
    {Call::epoll_create, EMFILE, "epoll_create"},
    {Call::epoll_add, ENOSPC, "epoll_add"},
    {Call::eventfd, EMFILE, "eventfd"},
    {Call::thread, EAGAIN, "thread"},
};

// Armed for as long as it lives.
class Armed {
 public:
  Armed(const Fault& fault, int skip) { mmaplink::sys::arm(fault.call, fault.code, skip); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
  ~Armed() { mmaplink::sys::disarm(); }
};

// Half a second is what each waits for the other.
constexpr auto kPatience = "connection-timeout=500000000 ";

std::string sender_line(const Scene& scene) {
  return "videotestsrc num-buffers=20 ! " + std::string(test::kVideo) + " ! " +
         scene.sink(kPatience + std::string("wait-for-connection=true on-disconnect=error"));
}

std::string reader_line(const Scene& scene) {
  return scene.src(kPatience) + " ! fakesink async=false";
}

// The errors of a pipeline that comes to its end in one way or the other.
std::vector<std::string> end_of(const Pipeline& pipeline, bool started) {
  if (started) {
    const auto end =
        pipeline.wait(static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
    if (GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS) return {};
    GError* error = nullptr;
    gst_message_parse_error(end.get(), &error, nullptr);
    const std::string text = error->message;
    g_error_free(error);
    return {text};
  }
  return pipeline.errors();
}

void check_fault(const Fault& fault, int skip) {
  const Scene scene;
  const Pipeline sender(sender_line(scene));
  const Pipeline reader(reader_line(scene));
  std::vector<std::string> errors;
  int failed = 0;
  {
    const Armed armed(fault, skip);
    const bool sends = sender.set(GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
    const bool reads = reader.set(GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
    errors = end_of(sender, sends);
    // As anybody would: its reader, which may have joined already, hears of it by that.
    if (!errors.empty()) sender.stop();
    for (auto& error : end_of(reader, reads)) errors.push_back(std::move(error));
    failed = mmaplink::sys::failed();
    fail_unless((sends && reads) || !errors.empty(), "%s: nothing is said", fault.name);
    if (sends && reads) errors.clear();  // later it may be that nobody came, or hung up
  }
  // Who does not start says what the system said.
  bool said = errors.empty();
  for (const auto& error : errors) said = said || test::contains(error, std::strerror(fault.code));
  fail_unless(said, "%s, %d calls skipped, %d failed: %s", fault.name, skip, failed,
              errors.empty() ? "" : errors.front().c_str());
  // And when there is enough of it again:
  for (const auto* pipeline : {&sender, &reader}) {
    pipeline->stop();
    pipeline->errors();
  }
  sender.play();
  reader.play();
  reader.wait_eos();
  sender.wait_eos();
}

}  // namespace

TEST(each_call_fails_at_its_first_use) {
  for (const auto& fault : kFaults) check_fault(fault, 0);
}

TEST(each_call_fails_at_its_second_use) {
  for (const auto& fault : kFaults) check_fault(fault, 1);
}

TEST(each_call_fails_at_its_third_use) {
  for (const auto& fault : kFaults) check_fault(fault, 2);
}

TEST(each_call_fails_later) {
  for (const auto& fault : kFaults) check_fault(fault, 4);
}

TEST(a_client_that_waits_for_its_server_waits_for_memory_too) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                        scene.sink("name=sink"));
  const Pipeline reader(scene.src("name=src on-disconnect=none ! fakesink async=false"));
  sender.play();
  // It has its own memory by then.
  fail_unless(test::becomes([&] { return test::stat(sender.element("sink"), "dropped") > 0; }));
  {
    const Armed armed(kFaults[0], 0);
    reader.play();
    fail_unless(test::becomes([] { return mmaplink::sys::failed() > 3; }));
  }
  fail_unless(test::becomes([&] { return test::stat(reader.element("src"), "buffers") > 0; }));
  fail_unless(reader.errors().empty() && sender.errors().empty());
}

TEST(a_server_without_descriptors_serves_when_it_has_some) {
  const Scene scene;
  const Pipeline sender("videotestsrc is-live=true ! " + std::string(test::kVideo) + " ! " +
                        scene.sink());
  const Pipeline reader(scene.src("name=src ! fakesink async=false"));
  sender.play();
  {
    const Armed armed(kFaults[8], 0);
    reader.play();
    fail_unless(test::becomes([] { return mmaplink::sys::failed() > 1; }));
  }
  fail_unless(test::becomes([&] { return test::stat(reader.element("src"), "buffers") > 0; }));
  fail_unless(reader.errors().empty() && sender.errors().empty());
}
