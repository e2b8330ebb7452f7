// What lies where in a half: who writes what, on which cache line.
#include "lib/layout.h"

#include "lib/shared_copy.h"
#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

size_t line_of(size_t offset) { return offset / kCacheLine; }

// Words of one line have the same writer and the same reader.
void lines_are_shared_by_nobody_else() {
  const size_t lines[] = {line_of(offsetof(Half, head)),
                          line_of(offsetof(Half, revoked)),
                          line_of(offsetof(Half, claimed)),
                          line_of(offsetof(Half, receipt_head)),
                          line_of(offsetof(Half, reader_waiting)),
                          line_of(offsetof(Half, writer_wants)),
                          line_of(offsetof(Half, receipts_waiting)),
                          line_of(offsetof(Half, latency_p50)),
                          line_of(offsetof(Half, receipts)),
                          line_of(offsetof(Half, slots))};
  for (size_t i = 1; i < std::size(lines); ++i) g_assert_cmpuint(lines[i - 1], <, lines[i]);
  g_assert_cmpuint(line_of(offsetof(Half, claimed)), ==, line_of(offsetof(Half, taken)));
  g_assert_cmpuint(line_of(offsetof(Half, latency_p50)), ==, line_of(offsetof(Half, latency_p99)));
  g_assert_cmpuint(offsetof(Half, slots) % kCacheLine, ==, 0);
}

// Numbers that indices are taken modulo, and tables that must not run over each other.
void limits_fit() {
  g_assert_cmpuint(kSlots & (kSlots - 1), ==, 0);
  g_assert_cmpuint(kReceipts & (kReceipts - 1), ==, 0);
  // A receipt for all that a peer may hold, and one for each item that it skipped meanwhile.
  g_assert_cmpuint(kRows + kSlots, <=, kReceipts);
  g_assert_cmpuint(sizeof(Descriptor) + kSlotExtra, ==, kSlotSize);
  g_assert_cmpuint(round_to_words(kSlotExtra), ==, kSlotExtra);
}

// A half starts as zeros: every index at 0, and no slot with a sequence that is valid.
void starts_as_zeros() {
  const auto memory = must(Link::make_half());
  g_assert_cmpuint(memory->map.size(), ==, round_to_page(sizeof(Half)));
  for (size_t i = 0; i < memory->map.size(); ++i)
    g_assert_true(memory->map.data()[i] == std::byte{0});
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/layout/lines-are-shared-by-nobody-else", lines_are_shared_by_nobody_else},
                  {"/layout/limits-fit", limits_fit},
                  {"/layout/starts-as-zeros", starts_as_zeros}});
}
