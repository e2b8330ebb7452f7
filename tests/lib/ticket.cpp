// Tickets: a row and which use of it, and nothing that a receipt could be mistaken for.
#include "lib/ticket.h"

#include "lib/layout.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

void holds_row_and_generation() {
  for (const uint32_t row : {0u, 1u, 8191u, 0xffffffffu})
    for (const uint32_t generation : {1u, 2u, kGenerations}) {
      const uint64_t ticket = make_ticket(row, generation);
      g_assert_cmpuint(ticket_row(ticket), ==, row);
      g_assert_cmpuint(ticket_generation(ticket), ==, generation);
      g_assert_cmpuint(ticket & kSkipped, ==, 0);
      g_assert_cmpuint(ticket, !=, 0);  // 0 stands for nothing to give back
      // A skipped item's receipt names the same row and use.
      g_assert_cmpuint(ticket_row(ticket | kSkipped), ==, row);
      g_assert_cmpuint(ticket_generation(ticket | kSkipped), ==, generation);
    }
}

void generations_are_never_zero() {
  g_assert_cmpuint(next_generation(1), ==, 2);
  g_assert_cmpuint(next_generation(kGenerations - 1), ==, kGenerations);
  g_assert_cmpuint(next_generation(kGenerations), ==, 1);
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/ticket/holds-row-and-generation", holds_row_and_generation},
                  {"/ticket/generations-are-never-zero", generations_are_never_zero}});
}
