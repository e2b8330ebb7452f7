#include "lib/message.h"

#include <cstring>
#include <type_traits>

namespace mmaplink {

namespace {

enum class Type : uint32_t {
  hello = 1,
  welcome = 2,
  refuse = 3,
  lanes = 4,
  arena_made = 5,
  arena_retired = 6,
  note = 7,
  item = 8,
  part = 9,
  progress = 10,
  withdrawn = 11,
  region_found = 12,
  status_ask = 13,
  status_part = 14,
  asks = 15,
};

class Writer {
 public:
  explicit Writer(Type type) {
    put(uint32_t{0});
    put(type);
  }
  template <class T>
  void put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
  }
  void put(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put(Wishes wishes) {
    put(wishes.send);
    put(wishes.receive);
  }
  void put(Lanes lanes) { put(uint32_t{lanes.sends} | uint32_t{lanes.receives} << 1); }
  // `more` bytes follow that are not ours.
  std::vector<std::byte> finish(uint32_t more = 0) {
    const auto size = static_cast<uint32_t>(bytes_.size()) + more;
    std::memcpy(bytes_.data(), &size, sizeof size);
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <class T>
  T get() {
    T value{};
    if (left_.size() < sizeof value) {
      broken_ = true;
      return value;
    }
    std::memcpy(&value, left_.data(), sizeof value);
    left_ = left_.subspan(sizeof value);
    return value;
  }
  Lanes get_lanes() {
    const auto bits = get<uint32_t>();
    if (bits > 3) broken_ = true;
    return {(bits & 1) != 0, (bits & 2) != 0};
  }
  Wishes get_wishes() {
    const auto get_one = [this] {
      const auto wish = get<uint32_t>();
      if (wish > static_cast<uint32_t>(Wish::last)) broken_ = true;
      return static_cast<Wish>(wish);
    };
    const Wish send = get_one();
    return {send, get_one()};
  }
  bool get_bool() {
    const auto value = get<uint32_t>();
    if (value > 1) broken_ = true;
    return value == 1;
  }
  std::span<const std::byte> rest() { return std::exchange(left_, {}); }
  bool good() const { return !broken_; }
  size_t left() const { return left_.size(); }
  bool complete() const { return !broken_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool broken_ = false;
};

void put_greeting(Writer& to, uint32_t version, Lanes lanes) {
  to.put(kMagic);
  to.put(version);
  to.put(lanes);
}

// The text of a refusal is shown to a person: printable, and not long.
std::string printable(std::span<const std::byte> bytes) {
  constexpr size_t kMost = 500;
  std::string text;
  for (const std::byte byte : bytes.first(std::min(bytes.size(), kMost))) {
    const auto c = static_cast<char>(byte);
    text += (c >= ' ' && c <= '~') ? c : '?';
  }
  return text;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool may_be_mapped(Wish wish) {
  return wish != Wish::no && wish != Wish::path && wish != Wish::far;
}

}  // namespace

Status check_version(const Hello& hello) {
  if (hello.version == kVersion) return ok();
  return Error{Failure::refused, "this server speaks version " + std::to_string(kVersion) +
                                     " of the link, the client version " +
                                     std::to_string(hello.version)};
}

bool carries_fd(const Message& message) {
  if (const auto* hello = std::get_if<Hello>(&message))
    return may_be_mapped(hello->wishes.send) || may_be_mapped(hello->wishes.receive);
  if (const auto* welcome = std::get_if<Welcome>(&message)) return welcome->mapped.any();
  return std::holds_alternative<ArenaMade>(message);
}

std::vector<std::byte> build(const Message& message) {
  return std::visit(
      [](const auto& m) {
        using T = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<T, Hello>) {
          Writer to(Type::hello);
          put_greeting(to, m.version, m.lanes);
          to.put(m.wishes);
          to.put(m.now);
          to.put(std::as_bytes(std::span(m.request)));
          return to.finish();
        } else if constexpr (std::is_same_v<T, Welcome>) {
          Writer to(Type::welcome);
          put_greeting(to, m.version, m.lanes);
          to.put(m.wishes);
          to.put(uint32_t{m.mapped.to_server});
          to.put(uint32_t{m.mapped.to_client});
          to.put(uint32_t{m.mapped.in_file});
          to.put(m.region.size);
          to.put(m.region.page);
          to.put(m.region.token);
          to.put(uint32_t{m.region.in_directory});
          to.put(m.region.name);
          to.put(m.now);
          return to.finish();
        } else if constexpr (std::is_same_v<T, RegionFound>) {
          Writer to(Type::region_found);
          to.put(m.token);
          return to.finish();
        } else if constexpr (std::is_same_v<T, Refuse>) {
          Writer to(Type::refuse);
          to.put(std::as_bytes(std::span(m.text)));
          return to.finish();
        } else if constexpr (std::is_same_v<T, Lanes>) {
          Writer to(Type::lanes);
          to.put(m);
          return to.finish();
        } else if constexpr (std::is_same_v<T, ArenaMade>) {
          Writer to(Type::arena_made);
          to.put(m.size);
          to.put(m.number);
          to.put(uint32_t{m.is_dmabuf});
          return to.finish();
        } else if constexpr (std::is_same_v<T, ArenaRetired>) {
          Writer to(Type::arena_retired);
          to.put(m.number);
          return to.finish();
        } else if constexpr (std::is_same_v<T, ItemBegins>) {
          Writer to(Type::item);
          to.put(m.descriptor);
          to.put(uint32_t{m.droppable});
          to.put(uint32_t{m.in_place});
          to.put(m.together);
          to.put(uint32_t{m.is_full});
          return to.finish();
        } else if constexpr (std::is_same_v<T, Part>) {
          Writer to(Type::part);
          return to.finish(m.size);
        } else if constexpr (std::is_same_v<T, Progress>) {
          Writer to(Type::progress);
          to.put(m.claimed);
          to.put(uint32_t{m.waits});
          to.put(std::as_bytes(std::span(m.tickets)));
          return to.finish();
        } else if constexpr (std::is_same_v<T, Withdrawn>) {
          return Writer(Type::withdrawn).finish();
        } else if constexpr (std::is_same_v<T, Asks>) {
          return Writer(Type::asks).finish();
        } else if constexpr (std::is_same_v<T, StatusAsk>) {
          Writer to(Type::status_ask);
          to.put(kMagic);
          to.put(m.version);
          return to.finish();
        } else if constexpr (std::is_same_v<T, StatusPart>) {
          Writer to(Type::status_part);
          to.put(uint32_t{m.last});
          to.put(std::as_bytes(std::span(m.text)));
          return to.finish();
        } else {
          Writer to(Type::note);
          to.put(m.kind);
          to.put(std::span<const std::byte>(m.bytes));
          return to.finish();
        }
      },
      message);
}

Result<std::optional<size_t>> message_size(std::span<const std::byte> bytes) {
  if (bytes.size() < kMessageHeader) return std::optional<size_t>();
  uint32_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  const size_t most = is_part(bytes) ? kMessageHeader + kMostPart : kMaxMessage;
  const auto fits = [most](uint32_t bytes_of) {
    return bytes_of >= kMessageHeader && bytes_of <= most;
  };
  if (!fits(size))
    return Error{Failure::protocol,
                 "a control message of " + std::to_string(size) + " bytes" +
                     (fits(__builtin_bswap32(size)) ? ", or of another byte order" : "")};
  return std::optional<size_t>(size);
}

bool is_part(std::span<const std::byte> bytes) {
  Reader from(bytes);
  from.get<uint32_t>();
  return from.get<Type>() == Type::part && from.good();
}

Result<Message> parse(std::span<const std::byte> bytes) {
  Reader from(bytes);
  from.get<uint32_t>();  // the size, read by message_size()
  const auto type = from.get<Type>();
  Message message;
  switch (type) {
    case Type::hello:
    case Type::welcome: {
      // Another byte order shows in the magic number.
      if (from.get<uint32_t>() != kMagic)
        return Error{Failure::protocol, "the peer does not speak this protocol"};
      const auto version = from.get<uint32_t>();
      // Another version may go on differently: only its number is read, for the refusal.
      if (version != kVersion) from.rest();
      const bool ours = version == kVersion;
      const Lanes lanes = ours ? from.get_lanes() : Lanes{};
      const Wishes wishes = ours ? from.get_wishes() : Wishes{};
      if (type == Type::hello) {
        const uint64_t now = ours ? from.get<uint64_t>() : 0;
        if (from.left() > kMostRequest) return Error{Failure::protocol, "too long a request"};
        message = Hello{version, lanes, wishes, now, text_of(from.rest())};
      } else {
        Welcome welcome{version, lanes, wishes};
        if (ours) {
          welcome.mapped.to_server = from.get_bool();
          welcome.mapped.to_client = from.get_bool();
          welcome.mapped.in_file = from.get_bool();
          welcome.region.size = from.get<uint64_t>();
          welcome.region.page = from.get<uint64_t>();
          welcome.region.token = from.get<Token>();
          welcome.region.in_directory = from.get_bool();
          welcome.region.name = from.get<Token>();
          welcome.now = from.get<uint64_t>();
        }
        message = welcome;
      }
      break;
    }
    case Type::refuse:
      message = Refuse{printable(from.rest())};
      break;
    case Type::lanes:
      message = from.get_lanes();
      break;
    case Type::arena_made: {
      const auto size = from.get<uint64_t>();
      const auto number = from.get<uint32_t>();
      message = ArenaMade{number, size, from.get_bool()};
      break;
    }
    case Type::arena_retired:
      message = ArenaRetired{from.get<uint32_t>()};
      break;
    case Type::item: {
      const auto descriptor = from.get<Descriptor>();
      const bool droppable = from.get_bool();
      const bool in_place = from.get_bool();
      const auto together = from.get<uint32_t>();
      message = ItemBegins{descriptor, droppable, in_place, together, from.get_bool()};
      break;
    }
    case Type::region_found:
      message = RegionFound{from.get<Token>()};
      break;
    case Type::withdrawn:
      message = Withdrawn{};
      break;
    case Type::asks:
      message = Asks{};
      break;
    case Type::status_ask: {
      if (from.get<uint32_t>() != kMagic)
        return Error{Failure::protocol, "the peer does not speak this protocol"};
      message = StatusAsk{from.get<uint32_t>()};
      if (std::get<StatusAsk>(message).version != kVersion) from.rest();
      break;
    }
    case Type::status_part: {
      const bool last = from.get_bool();
      message = StatusPart{last, text_of(from.rest())};
      break;
    }
    case Type::part:
      message = Part{static_cast<uint32_t>(from.rest().size())};
      break;
    case Type::progress: {
      Progress progress;
      progress.claimed = from.get<uint64_t>();
      progress.waits = from.get_bool();
      while (from.good() && from.left() > 0) progress.tickets.push_back(from.get<uint64_t>());
      message = std::move(progress);
      break;
    }
    case Type::note: {
      Note note;
      note.kind = from.get<uint32_t>();
      const auto rest = from.rest();
      note.bytes.assign(rest.begin(), rest.end());
      message = std::move(note);
      break;
    }
    default:
      return Error{Failure::protocol, "a control message of an unknown type"};
  }
  if (!from.complete()) return Error{Failure::protocol, "a control message of the wrong length"};
  return message;
}

}  // namespace mmaplink
