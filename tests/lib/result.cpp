// Results and the errors in them: the failure that fits an errno, and a text for a person.
#include "lib/result.h"

#include <cerrno>
#include <memory>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

void holds_a_value_or_an_error() {
  Result<int> value(7);
  g_assert_true(static_cast<bool>(value));
  g_assert_cmpint(*value, ==, 7);
  const Result<int> error(Error{Failure::busy, "taken"});
  g_assert_true(fails(error, Failure::busy, "taken"));
  g_assert_true(static_cast<bool>(ok()));
  // What can only be moved goes through.
  Result<std::unique_ptr<int>> owned(std::make_unique<int>(3));
  const std::unique_ptr<int> out = std::move(*owned);
  g_assert_cmpint(*out, ==, 3);
}

void names_what_failed_and_why() {
  const Error error = system_error(ENOENT, "directory /nowhere");
  g_assert_cmpstr(error.text.c_str(), ==, "directory /nowhere: No such file or directory");
}

void errno_fits_a_failure() {
  const struct {
    int code;
    Failure failure;
  } known[] = {
      {ENOENT, Failure::not_found}, {ENOTDIR, Failure::not_found}, {EACCES, Failure::permission},
      {EPERM, Failure::permission}, {EROFS, Failure::permission},  {ENOSPC, Failure::no_space},
      {ENOMEM, Failure::no_space},  {EMFILE, Failure::no_space},   {ENFILE, Failure::no_space},
      {EDQUOT, Failure::no_space},  {EADDRINUSE, Failure::busy},   {EBUSY, Failure::busy},
      {EIO, Failure::system},       {EINVAL, Failure::system}};
  for (const auto& one : known) g_assert_true(system_error(one.code, "x").failure == one.failure);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/result/holds-a-value-or-an-error", holds_a_value_or_an_error},
                  {"/result/names-what-failed-and-why", names_what_failed_and_why},
                  {"/result/errno-fits-a-failure", errno_fits_a_failure}});
}
