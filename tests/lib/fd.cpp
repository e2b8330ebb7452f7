// A descriptor has one owner, and is closed with it.
#include "lib/fd.h"

#include <fcntl.h>

#include <utility>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

int open_null() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

void closes_with_its_object() {
  int number = -1;
  {
    const Fd fd(open_null());
    number = fd.get();
    g_assert_true(static_cast<bool>(fd));
    g_assert_true(is_open(number));
  }
  g_assert_false(is_open(number));
}

void empty_ones_close_nothing() {
  Fd none;
  g_assert_false(static_cast<bool>(none));
  g_assert_cmpint(none.get(), ==, -1);
  none.reset();
  const Fd failed(-1);
  g_assert_false(static_cast<bool>(failed));
}

void moves() {
  Fd first(open_null());
  const int number = first.get();
  Fd second(std::move(first));
  g_assert_cmpint(first.get(), ==, -1);  // NOLINT: what moving leaves is promised
  g_assert_cmpint(second.get(), ==, number);

  Fd third(open_null());
  const int other = third.get();
  third = std::move(second);
  g_assert_cmpint(third.get(), ==, number);
  g_assert_false(is_open(other));
  g_assert_true(is_open(number));

  Fd& same = third;
  third = std::move(same);
  g_assert_true(is_open(number));
}

void resets_once() {
  Fd fd(open_null());
  const int number = fd.get();
  fd.reset();
  g_assert_false(is_open(number));
  // The number is somebody else's now: a second reset must not close it.
  const Fd other(open_null());
  fd.reset();
  g_assert_true(is_open(other.get()));
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/fd/closes-with-its-object", closes_with_its_object},
                  {"/fd/empty-ones-close-nothing", empty_ones_close_nothing},
                  {"/fd/moves", moves},
                  {"/fd/resets-once", resets_once}});
}
