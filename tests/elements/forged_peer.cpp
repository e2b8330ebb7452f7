#include "tests/elements/forged_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "gst/wire.h"
#include "lib/link.h"
#include "lib/shared_copy.h"

namespace test {

using gstmmap::Notice;
using mmaplink::Descriptor;
using mmaplink::Fd;
using mmaplink::Hello;
using mmaplink::kSlots;
using mmaplink::Lanes;
using mmaplink::Message;
using mmaplink::Note;
using mmaplink::Refuse;
using mmaplink::Welcome;

namespace {

// Of a lock step in which something has to happen: the ring is longer, and so is any queue.
constexpr int kMostSteps = 3000;
constexpr size_t kArena = 64 << 10;

}  // namespace

// --- the peer -----------------------------------------------------------------------------------

ForgedPeer::ForgedPeer(const std::string& path) : ForgedPeer(must(mmaplink::connect_to(path))) {}

ForgedPeer::ForgedPeer(Fd socket)
    : half_(must(mmaplink::make_sealed("mmap-half", sizeof(mmaplink::Half)))),
      channel_(std::move(socket)) {}

template <class Greeting>
void ForgedPeer::wait_greeting() {
  const bool came = becomes([&] {
    return !look() || std::any_of(messages.begin(), messages.end(), [](const Message& message) {
      return std::holds_alternative<Greeting>(message);
    });
  });
  fail_unless(came && open_ && !fds.empty(), "no greeting: %s", refusal().c_str());
  theirs_ = must(mmaplink::map_sealed(fds[0], half_.map.size()));
}

void ForgedPeer::greet_server(Lanes lanes) {
  send(Hello{mmaplink::kVersion, lanes}, {half_.fd.get()});
  wait_greeting<Welcome>();
}

void ForgedPeer::greet_client(Lanes lanes) {
  wait_greeting<Hello>();
  send(Welcome{mmaplink::kVersion, lanes, kMapsAll}, {half_.fd.get()});
}

void ForgedPeer::join(const Harness& sink) {
  guint before = 0;
  g_object_get(sink.element(), "num-clients", &before, nullptr);
  greet_server(kReads);
  const bool joined = becomes([&] {
    if (!look()) return true;
    decline();
    guint now = 0;
    g_object_get(sink.element(), "num-clients", &now, nullptr);
    return now == before + 1;
  });
  fail_unless(joined && open_, "it could not join: %s", refusal().c_str());
}

std::vector<const Note*> ForgedPeer::questions() const {
  std::vector<const Note*> all;
  for (size_t i = declined_; i < messages.size(); ++i) {
    const auto* asked = std::get_if<Note>(&messages[i]);
    if (asked != nullptr && (asked->kind & ~kForSink) == static_cast<uint32_t>(Notice::query))
      all.push_back(asked);
  }
  return all;
}

int ForgedPeer::decline() {
  const auto all = questions();
  for (const Note* asked : all) {
    std::vector<std::byte> no(asked->bytes.begin(), asked->bytes.begin() + 4);
    no.push_back(std::byte{0});
    // By whichever side it was for, to the other one over there.
    note((~asked->kind & kForSink) | static_cast<uint32_t>(Notice::answer), std::move(no));
  }
  declined_ = messages.size();
  return static_cast<int>(all.size());
}

bool ForgedPeer::send(const Message& message, const std::vector<int>& with) {
  return send_bytes(mmaplink::build(message), with);
}

bool ForgedPeer::send_bytes(std::span<const std::byte> bytes, const std::vector<int>& with) {
  std::vector<char> control(with.empty() ? 0 : CMSG_SPACE(sizeof(int) * with.size()));
  while (!bytes.empty()) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (!control.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * with.size());
      std::memcpy(CMSG_DATA(rights), with.data(), sizeof(int) * with.size());
    }
    const ssize_t sent = sendmsg(channel_.fd(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
      control.clear();
      continue;
    }
    if (errno == EPIPE || errno == ECONNRESET) return false;
    fail_unless(errno == EAGAIN || errno == EINTR, "sendmsg: %s", strerror(errno));
    pollfd writable{channel_.fd(), POLLOUT, 0};
    fail_unless(poll(&writable, 1, 10'000) > 0, "the other side reads nothing");
  }
  return true;
}

void ForgedPeer::note(uint32_t kind, std::vector<std::byte> bytes) {
  send(Note{kind, std::move(bytes)});
}

std::byte* ForgedPeer::announce(uint32_t number, size_t size) {
  arenas_.push_back(must(mmaplink::make_sealed("mmap-arena", size)));
  const auto& made = arenas_.back();
  send(mmaplink::ArenaMade{number, made.map.size()}, {made.fd.get()});
  return made.map.data();
}

void ForgedPeer::publish(Descriptor descriptor, std::span<const std::byte> extra) {
  const uint64_t head = own().head;
  auto& slot = own().slots[head % kSlots];
  if (descriptor.sequence == 0) descriptor.sequence = head + 1;
  if (descriptor.first == 0) descriptor.first = head + 1;
  if (!extra.empty()) {
    fail_unless(extra.size() <= mmaplink::kSlotExtra, "%zu bytes do not fit a slot", extra.size());
    descriptor.extra_from = static_cast<uint32_t>(mmaplink::ExtraFrom::slot);
    descriptor.extra_size = static_cast<uint32_t>(extra.size());
    std::memcpy(slot.extra.data(), extra.data(), extra.size());
  }
  mmaplink::copy_to_shared(&slot.descriptor, &descriptor, sizeof descriptor);
  own().head.store(head + 1);
  mmaplink::wake(mmaplink::low_word(own().head), true);
}

void ForgedPeer::publish_event(GstEvent* event) {
  const auto bytes = gstmmap::encode_event(event);
  gst_event_unref(event);
  fail_unless(bytes.has_value());
  Descriptor descriptor;
  descriptor.kind = static_cast<uint32_t>(gstmmap::Item::event);
  publish(descriptor, *bytes);
}

std::byte* ForgedPeer::begin_stream(const char* caps) {
  publish_event(gst_event_new_stream_start("forged"));
  const Ref<GstCaps> made(gst_caps_from_string(caps));
  publish_event(gst_event_new_caps(made.get()));
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  publish_event(gst_event_new_segment(&segment));
  return announce(1, kArena);
}

void ForgedPeer::publish_number(uint64_t number) {
  fail_unless(!arenas_.empty() && kArena >= 2 * kVideoSize);
  Descriptor descriptor;
  descriptor.kind = static_cast<uint32_t>(gstmmap::Item::buffer);
  descriptor.extra_from = static_cast<uint32_t>(mmaplink::ExtraFrom::slot);
  descriptor.arena = 1;
  descriptor.offset = number % 2 * kVideoSize;
  descriptor.size = kVideoSize;
  descriptor.media_offset = number;
  std::memset(arenas_[0].map.data() + descriptor.offset, static_cast<int>(number & 0xff),
              kVideoSize);
  publish(descriptor);
}

void ForgedPeer::give_back(uint64_t ticket) {
  const uint64_t head = own().receipt_head;
  own().receipts[head % mmaplink::kReceipts] = ticket;
  own().receipt_head.store(head + 1);
  mmaplink::wake(mmaplink::low_word(own().receipt_head), true);
}

bool ForgedPeer::look() {
  if (!open_) return false;
  open_ = must(channel_.receive([&](mmaplink::Channel::Received received) {
    if (carries_fd(received.message)) fds.push_back(std::move(received.fd));
    messages.push_back(std::move(received.message));
    return true;
  }));
  return open_;
}

std::string ForgedPeer::refusal() const {
  for (auto message = messages.rbegin(); message != messages.rend(); ++message)
    if (const auto* refuse = std::get_if<Refuse>(&*message)) return refuse->text;
  return "";
}

std::string ForgedPeer::wait_hang_up() {
  fail_unless(becomes([&] { return !look(); }), "it is not hung up on");
  return refusal();
}

ForgedServer::ForgedServer(const std::string& path)
    : listener_(must(mmaplink::Listener::open(path, {}))) {}

Fd ForgedServer::accept() {
  Fd socket;
  fail_unless(becomes([&] {
                socket = must(listener_.accept());
                return static_cast<bool>(socket);
              }),
              "no client came");
  return socket;
}

// --- good ones meanwhile ------------------------------------------------------------------------

// Where it listens once it plays.
static std::string path_of(const Harness& source, const Scene& scene) {
  source.play();
  return scene.path();
}

Feed::Feed(const Scene& scene) : source(scene.src("role=server")), peer(path_of(source, scene)) {
  peer.greet_server(kSends);
  arena = peer.begin_stream();
}

Play::Play(const Scene& scene, const std::string& properties)
    : sink(scene.sink("leaky-type=downstream " + properties)),
      reader(scene.src()),
      path_(scene.path()) {
  reader.play();
  sink.wait_for_clients(1);
  for (int i = 0; i < 5; ++i) step();
}

void Play::step() {
  fail_unless_equals_int(sink.push_number(next_), GST_FLOW_OK);
  fail_unless_equals_uint64(reader.pull_number(), next_++);
}

bool Play::until(const std::function<bool()>& condition) {
  for (int i = 0; i < kMostSteps; ++i) {
    if (condition()) return true;
    step();
    poll(nullptr, 0, 1);
  }
  return false;
}

void Play::attack(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does,
                  const std::string& refusal) {
  run(name, joins, does, &refusal);
}

void Play::attack(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does) {
  run(name, joins, does, nullptr);
}

namespace {

bool nothing_left(const Scene::Open& before) {
  const Scene::Open now = Scene::open_now();
  return now.files <= before.files && now.threads <= before.threads &&
         now.mappings <= before.mappings;
}

void check_nothing_left(const char* name, bool clean, const Scene::Open& before) {
  fail_unless(clean, "%s: %s before, %s after", name, before.text().c_str(),
              Scene::open_now().text().c_str());
}

void check_no_message(const char* name, GstBus* bus) {
  const Ref<GstMessage> message(gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR));
  if (message == nullptr) return;
  gchar* text = gst_structure_to_string(gst_message_get_structure(message.get()));
  ck_abort_msg("%s: an error nobody should have: %s", name, text);
}

void check_refusal(const char* name, const std::string& said, const std::string* expected) {
  if (expected != nullptr)
    fail_unless(said == *expected, "%s: hung up with '%s', not '%s'", name, said.c_str(),
                expected->c_str());
}

}  // namespace

void Play::run(const char* name, bool joins, const std::function<void(ForgedPeer&)>& does,
               const std::string* refusal) {
  GST_INFO("attack: %s", name);
  const Scene::Open before = Scene::open_now();
  {
    ForgedPeer peer(path_);
    if (joins) peer.join(sink);
    does(peer);
    fail_unless(until([&] { return !peer.look(); }), "%s: it is not hung up on", name);
    check_refusal(name, peer.refusal(), refusal);
    // Also while it still has all that it had: its descriptors and mappings are not what holds us.
    fail_unless(becomes([&] {
                  return sink.stat("peers") == 1 && sink.stat("in-flight") == 0 &&
                         reader.stat("in-flight") == 0;
                }),
                "%s: %d peers, %d buffers in flight", name, static_cast<int>(sink.stat("peers")),
                static_cast<int>(sink.stat("in-flight")));
  }
  // Without another frame.
  check_nothing_left(name, becomes([&] { return nothing_left(before); }), before);
  check_no_message(name, sink.bus());
  check_no_message(name, reader.bus());
}

// --- sources ------------------------------------------------------------------------------------

namespace {

void attack_server(const char* name, const std::function<void(ForgedPeer&)>& does,
                   const std::string* refusal) {
  const Scene scene;
  const Harness source(scene.src("role=server"));
  source.play();
  {
    // Whatever is there for as long as it has a client is there before we look.
    const Harness earlier(scene.sink("role=client"));
    earlier.push_number(7);
    fail_unless_equals_uint64(source.pull_number(), 7);
  }
  fail_unless(becomes([&] { return source.stat("peers") == 0; }));
  Scene::Open before = Scene::open_now();
  {
    ForgedPeer peer(scene.path());
    peer.greet_server(kSends);
    does(peer);
    check_refusal(name, peer.wait_hang_up(), refusal);
    fail_unless(becomes([&] { return source.stat("peers") == 0; }), "%s: it is still a peer", name);
  }
  // What has come before the worst is the application's own.
  while (GstBuffer* buffer = gst_harness_try_pull(source.get())) gst_buffer_unref(buffer);
  check_nothing_left(name, becomes([&] { return nothing_left(before); }), before);
  const Harness good(scene.sink("role=client"));
  for (guint64 i = 100; i < 110; ++i) {
    fail_unless_equals_int(good.push_number(i), GST_FLOW_OK);
    fail_unless_equals_uint64(source.pull_number(), i);
  }
  check_no_message(name, source.bus());
  check_no_message(name, good.bus());
}

void attack_client(const char* name, const std::function<void(ForgedPeer&)>& does,
                   const std::string* refusal) {
  const Scene scene;
  ForgedServer server(scene.path("forged"));
  Play others(scene);  // of the same process
  Scene::Open before = Scene::open_now();
  before.threads += 2;  // a task's stays for half a second: the scene looks at that
  {
    const Harness source("mmapsrc socket-path=" + scene.path("forged"));
    source.play();
    ForgedPeer peer(server.accept());
    peer.greet_client(kSends);
    does(peer);
    const std::string said = peer.wait_hang_up();
    check_refusal(name, said, refusal);
    // One error that says why, and the end of the stream.
    const std::string error = source.wait_error();
    fail_unless(contains(error, "ung up on process ") && contains(error, scene.path("forged")) &&
                    contains(error, said),
                "%s: the error is '%s'", name, error.c_str());
    source.pull_event(GST_EVENT_EOS);
    check_no_message(name, source.bus());
    fail_unless(becomes([&] { return source.stat("peers") == 0; }), "%s: it is still a peer", name);
  }
  check_nothing_left(name, becomes([&] { return nothing_left(before); }), before);
  others.step();
}

}  // namespace

void attack_source(const char* name, const std::function<void(ForgedPeer&)>& does,
                   const std::string& refusal) {
  attack_server(name, does, &refusal);
  attack_client(name, does, &refusal);
}

void attack_source(const char* name, const std::function<void(ForgedPeer&)>& does) {
  attack_server(name, does, nullptr);
  attack_client(name, does, nullptr);
}

// --- memory -------------------------------------------------------------------------------------

Fd memfd(size_t size, int seals, size_t backed) {
  Fd fd(memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  fail_unless_equals_int(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  const std::vector<char> content(backed);
  fail_unless_equals_int(static_cast<int>(write(fd.get(), content.data(), backed)),
                         static_cast<int>(backed));
  if (seals != 0) fail_unless_equals_int(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

}  // namespace test
