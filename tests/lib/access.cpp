// Who may be at the other end of a control socket, by uid, mode and group.
#include "lib/access.h"

#include <grp.h>
#include <sys/stat.h>

#include "lib/socket.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr uid_t kNobody = 65534;
constexpr uid_t kStranger = 4242;

Access with_uids(std::vector<uid_t> uids) { return {.mode = 0666, .group = {}, .uids = uids}; }

void own_uid_and_root_may_connect() {
  const Access closed;
  must(may_connect(closed, {1, geteuid()}));
  must(may_connect(closed, {1, 0}));
  g_assert_true(fails(may_connect(closed, {1, kStranger}), Failure::refused, "uid 4242"));
}

void whom_the_socket_lets_in_may_connect() {
  must(may_connect({.mode = 0660, .group = {}, .uids = {}}, {1, kStranger}));
  must(may_connect({.mode = 0600, .group = gid_t{5}, .uids = {}}, {1, kStranger}));
}

void a_list_of_uids_is_the_whole_truth() {
  const Access listed = with_uids({kStranger});
  must(may_connect(listed, {1, kStranger}));
  g_assert_true(fails(may_connect(listed, {1, kNobody}), Failure::refused, "allowed-uids"));
  if (geteuid() != kStranger)
    g_assert_true(fails(may_connect(listed, {1, geteuid()}), Failure::refused, "allowed-uids"));
}

void a_server_must_be_one_to_trust() {
  const TempDir directory;
  const std::string path = directory.path("socket");
  must(may_serve({}, {1, geteuid()}, path));
  must(may_serve({}, {1, 0}, path));
  // Nobody puts a socket there but the directory's owner.
  must(may_serve({}, {1, kStranger}, path));
  g_assert_cmpint(chmod(directory.path().c_str(), 01777), ==, 0);
  g_assert_true(fails(may_serve({}, {1, kStranger}, path), Failure::permission,
                      "runs as uid 4242, which is not trusted: add it to allowed-uids"));
  must(may_serve(with_uids({kStranger}), {1, kStranger}, path));
  g_assert_true(fails(may_serve(with_uids({kStranger}), {1, kNobody}, path), Failure::permission,
                      "uid 65534"));
}

void a_peer_is_called_what_is_known_of_it() {
  g_assert_true(name_and_uid({12, 34}) == "process 12 (uid 34)");
  g_assert_true(name_and_uid({0, 34}) == "a process of another namespace (uid 34)");
  g_assert_true(name_and_uid({0, kNoUid, "vsock CID 3"}) == "vsock CID 3");
}

void a_group_widens_the_mode_for_itself() {
  g_assert_cmpuint(Access{}.whole_mode(), ==, 0600);
  g_assert_cmpuint((Access{.mode = 0600, .group = gid_t{5}, .uids = {}}).whole_mode(), ==, 0660);
}

void two_elements_allow_what_either_does() {
  const Access one{.mode = 0600, .group = gid_t{5}, .uids = std::vector<uid_t>{1}};
  const Access other{.mode = 0606, .group = {}, .uids = std::vector<uid_t>{2}};
  const Access both = merged(one, other);
  g_assert_cmpuint(both.mode, ==, 0606);
  g_assert_true(both.group == gid_t{5});
  g_assert_true((both.uids == std::vector<uid_t>{1, 2}));
  g_assert_false(merged({}, {}).uids.has_value());
  g_assert_true((merged({}, one).uids == std::vector<uid_t>{1}));
}

void groups_have_names_or_numbers() {
  g_assert_cmpuint(must(group_named("0")), ==, 0);
  g_assert_cmpuint(must(group_named("1234")), ==, 1234);
  const group* root = getgrgid(0);
  g_assert_nonnull(root);
  g_assert_cmpuint(must(group_named(root->gr_name)), ==, 0);
  for (const char* none : {"no-such-group", "", "-1", "4294967295", "5 "})
    g_assert_true(
        fails(group_named(none), Failure::settings, std::string("there is no group ") + none));
}

void uids_are_numbers_with_commas() {
  g_assert_true((must(parse_uids("0")) == std::vector<uid_t>{0}));
  g_assert_true((must(parse_uids("1000,0,33")) == std::vector<uid_t>{1000, 0, 33}));
  for (const char* none : {"", ",", "1,", ",1", "1,,2", "root", "-1", "1 ", " 1", "4294967295",
                           "4294967296", "0x10", "1;2"})
    g_assert_true(fails(parse_uids(none), Failure::settings,
                        std::string("allowed-uids=") + none + " is no list of numbers"));
}

void the_socket_is_given_to_the_group() {
  if (geteuid() != 0) {
    g_test_skip("needs root, to give files away");
    return;
  }
  const TempDir directory;
  g_assert_cmpint(chmod(directory.path().c_str(), 0755), ==, 0);
  const std::string path = directory.path("socket");
  const auto listener = must(Listener::open(path, {.mode = 0600, .group = kNobody, .uids = {}}));
  struct stat st {};
  g_assert_cmpint(lstat(path.c_str(), &st), ==, 0);
  g_assert_cmpuint(st.st_gid, ==, kNobody);
  g_assert_cmpuint(st.st_mode & 07777, ==, 0660);
  const auto as_member = [&](gid_t gid) {
    return in_child([&] {
      if (setgroups(0, nullptr) != 0 || setgid(gid) != 0 || setuid(kStranger) != 0) return false;
      return static_cast<bool>(connect_to(path));
    });
  };
  g_assert_true(as_member(kNobody));
  g_assert_false(as_member(kStranger));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(
      argc, argv,
      {{"/access/own-uid-and-root-may-connect", own_uid_and_root_may_connect},
       {"/access/whom-the-socket-lets-in-may-connect", whom_the_socket_lets_in_may_connect},
       {"/access/a-list-of-uids-is-the-whole-truth", a_list_of_uids_is_the_whole_truth},
       {"/access/a-server-must-be-one-to-trust", a_server_must_be_one_to_trust},
       {"/access/a-peer-is-called-what-is-known-of-it", a_peer_is_called_what_is_known_of_it},
       {"/access/a-group-widens-the-mode-for-itself", a_group_widens_the_mode_for_itself},
       {"/access/two-elements-allow-what-either-does", two_elements_allow_what_either_does},
       {"/access/groups-have-names-or-numbers", groups_have_names_or_numbers},
       {"/access/uids-are-numbers-with-commas", uids_are_numbers_with_commas},
       {"/access/the-socket-is-given-to-the-group", the_socket_is_given_to_the_group}});
}
