// What is mapped between two sides, for each pair of the words they may have.
#include "lib/mode.h"

#include <array>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr std::array kWords{"auto", "yes", "both", "no", "read", "write"};

Wishes wishes(const char* word, Role role) { return must(parse_mode(word, role)); }

void words_are_known_and_others_named() {
  for (const char* word : kWords)
    for (const Role role : {Role::client, Role::server})
      g_assert_true(static_cast<bool>(parse_mode(word, role)));
  for (const char* word : {"", "YES", "yes ", "true", "relative/path", "auto,no"})
    g_assert_true(fails(parse_mode(word, Role::client), Failure::settings,
                        "the value in mmap=" + std::string(word) +
                            " is none of: auto, yes, both, no, read, write"));
}

void an_auto_client_is_read_from_only_by_a_server_that_says_yes() {
  const auto with = [](const char* server) {
    return decide(wishes("auto", Role::client), wishes(server, Role::server));
  };
  g_assert_true(with("auto") == (Mapped{false, true}));
  g_assert_true(with("yes") == (Mapped{true, true}));
  g_assert_true(with("both") == (Mapped{true, true}));
  g_assert_true(with("no") == (Mapped{false, false}));
  g_assert_true(with("read") == (Mapped{true, false}));
  g_assert_true(with("write") == (Mapped{false, true}));
}

// What a side does not let be mapped is not, whatever the other wishes.
void no_is_no() {
  for (const char* word : kWords) {
    const Wishes client = wishes(word, Role::client);
    const Wishes server = wishes(word, Role::server);
    g_assert_false(decide(client, wishes("no", Role::server)).any());
    g_assert_false(decide(wishes("no", Role::client), server).any());
    g_assert_false(decide(client, wishes("read", Role::server)).to_client);
    g_assert_false(decide(client, wishes("write", Role::server)).to_server);
    g_assert_false(decide(wishes("read", Role::client), server).to_server);
    g_assert_false(decide(wishes("write", Role::client), server).to_client);
  }
}

void a_client_that_must_is_told_what_is_missing() {
  const auto check = [](const char* client, const char* server) {
    return check_musts(wishes(client, Role::client), wishes(server, Role::server));
  };
  for (const char* server : kWords) {
    g_assert_true(static_cast<bool>(check("auto", server)));
    g_assert_true(static_cast<bool>(check("no", server)));
  }
  for (const char* server : {"auto", "yes", "both"})
    for (const char* client : {"yes", "both", "read", "write"})
      g_assert_true(static_cast<bool>(check(client, server)));
  g_assert_true(fails(check("yes", "no"), Failure::settings, "sends or receives be mapped"));
  g_assert_true(fails(check("yes", "write"), Failure::settings, "what this client sends be"));
  g_assert_true(fails(check("both", "read"), Failure::settings, "what this client receives be"));
  g_assert_true(fails(check("write", "no"), Failure::settings, "mmap=yes there"));
  g_assert_true(static_cast<bool>(check("write", "read")));
}

// Each side works it out for itself.
void both_sides_come_to_the_same() {
  for (const char* client_word : kWords)
    for (const char* server_word : kWords) {
      const Wishes client = wishes(client_word, Role::client);
      const Wishes server = wishes(server_word, Role::server);
      const Mapped mapped = decide(client, server);
      const Modes of_client = modes_of(Role::client, client, server);
      const Modes of_server = modes_of(Role::server, server, client);
      g_assert_true(of_client.send.mapped == mapped.to_server);
      g_assert_true(of_client.receive.mapped == mapped.to_client);
      g_assert_true(of_server.receive.mapped == mapped.to_server);
      g_assert_true(of_server.send.mapped == mapped.to_client);
      g_assert_false(of_client.send.why.empty() || of_server.send.why.empty());
    }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/mode/words-are-known-and-others-named", words_are_known_and_others_named},
                  {"/mode/an-auto-client-is-read-from-only-by-a-server-that-says-yes",
                   an_auto_client_is_read_from_only_by_a_server_that_says_yes},
                  {"/mode/no-is-no", no_is_no},
                  {"/mode/a-client-that-must-is-told-what-is-missing",
                   a_client_that_must_is_told_what_is_missing},
                  {"/mode/both-sides-come-to-the-same", both_sides_come_to_the_same}});
}
