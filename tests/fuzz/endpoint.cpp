// A peer of a whole Endpoint, server or client, with its thread: the handshake, what comes after it
// in pieces with descriptors, and the hang-up.
//
// The first byte says which role ours has, and what is attached to it.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "lib/endpoint.h"
#include "tests/fuzz/link_input.h"

namespace {

using namespace mmaplink;

// As an element: takes what is there, and answers.
class User : public EndpointUser {
 public:
  void on_connected(const std::shared_ptr<Link>& link) override {
    fuzz::check(!link_, "one peer at a time");
    link_ = link;
  }
  void on_lanes(const std::shared_ptr<Link>& link) override {
    ReceiveLane& lane = *link->receive_lane();
    for (;;) {
      auto took = lane.take(item_);
      if (!took) return link->hang_up(took.error().text);
      if (*took != ReceiveLane::Take::item) return;
      lane.give_back(item_.descriptor.ticket);
    }
  }
  void on_note(const std::shared_ptr<Link>& link, const Note& note) override {
    constexpr uint32_t kNonsense = 7;
    fuzz::check(link == link_, "of the link there is");
    if (note.kind == kNonsense) return link->hang_up("a notice that makes no sense");
    if (auto said = link->note(note.kind, note.bytes); !said) link->hang_up(said.error().text);
  }
  void on_disconnected(const std::shared_ptr<Link>& link, const Error& why) override {
    fuzz::check(link == link_ && !link->alive() && !why.text.empty(), "told of its end, and why");
    link_.reset();
  }
  void on_waiting() override {}
  void on_refused(const Error&) override {}
  void on_failed(const Error& why) override { fuzz::check(!why.text.empty(), "told why"); }

 private:
  std::shared_ptr<Link> link_;
  Incoming item_;
};

// One side of the endpoint, for as long as an input lasts.
class Attached {
 public:
  Attached(const Endpoint::Key& key, Side side)
      : side_(side), endpoint_(fuzz::must(Endpoint::attach(key, side, user_))) {
    fuzz::must(endpoint_->start(side, {}));
  }
  ~Attached() {
    endpoint_->stop(side_);
    endpoint_->detach(side_);
  }

 private:
  const Side side_;
  User user_;
  const std::shared_ptr<Endpoint> endpoint_;
};

struct Directory {
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "mmap-fuzz-XXXXXX").string();
    fuzz::check(mkdtemp(name.data()) != nullptr, "mkdtemp");
    directory = name;
    path = directory + "/link";
  }
  ~Directory() { std::filesystem::remove_all(directory); }
  std::string directory, path;
};

void wait_for(int fd) {
  constexpr int kLongest = 20'000;  // ms
  pollfd waits{fd, POLLIN, 0};
  int got;
  do got = poll(&waits, 1, kLongest);
  while (got < 0 && errno == EINTR);  // by libFuzzer's clock
  fuzz::check(got == 1, "it does something in time");
}

Fd accept_one(Listener& listener) {
  wait_for(listener.fd());
  return fuzz::must(listener.accept());
}

// Until the other end has hung up.
void read_all(int socket) {
  std::array<char, 4096> bytes;
  for (;;) {
    const ssize_t got = recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    if (got == 0 || errno != EAGAIN) return;
    wait_for(socket);
  }
}

void talk(const Fd& socket, fuzz::Input& input) {
  while (!input.empty() && fuzz::send_piece(socket.get(), fuzz::next_piece(input))) {
  }
  shutdown(socket.get(), SHUT_WR);
  read_all(socket.get());
}

void run(const std::string& path, fuzz::Input& input) {
  const auto what = input.byte();
  const Role role = (what & 1) != 0 ? Role::client : Role::server;
  const Endpoint::Key key{path, role, nullptr};
  std::optional<Listener> listener;
  if (role == Role::client) listener.emplace(fuzz::must(Listener::open(path, {})));
  std::optional<Attached> src, sink;
  if ((what & 2) == 0) src.emplace(key, Side::src);
  if ((what & 4) == 0 || !src) sink.emplace(key, Side::sink);
  const Fd socket = listener ? accept_one(*listener) : fuzz::must(connect_to(path));
  talk(socket, input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory place;
  const int before = fuzz::free_fd();
  fuzz::Input input(data, size);
  run(place.path, input);
  fuzz::check(fuzz::free_fd() == before, "no descriptor is left open");
  return 0;
}
