// Copies in and out of shared memory, word by word.
#include "lib/shared_copy.h"

#include <array>
#include <thread>
#include <vector>

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

constexpr size_t kMost = 512;
constexpr std::byte kUntouched{0xa5};

void rounds_to_words() {
  g_assert_cmpuint(round_to_words(0), ==, 0);
  for (size_t size = 1; size < 100; ++size) {
    const size_t rounded = round_to_words(size);
    g_assert_cmpuint(rounded % 8, ==, 0);
    g_assert_cmpuint(rounded, >=, size);
    g_assert_cmpuint(rounded, <, size + 8);
  }
}

// Every byte of every size, in both directions, and nothing behind the end.
void copies_all_sizes() {
  Random random;
  alignas(8) std::array<std::byte, kMost> from;
  for (auto& byte : from) byte = static_cast<std::byte>(random.below(256));
  for (size_t size = 0; size < kMost; size += 8)
    for (const auto copy : {copy_from_shared, copy_to_shared}) {
      alignas(8) std::array<std::byte, kMost> to;
      to.fill(kUntouched);
      copy(to.data(), from.data(), size);
      for (size_t i = 0; i < kMost; ++i) g_assert_true(to[i] == (i < size ? from[i] : kUntouched));
    }
}

// While somebody writes, each word comes whole; and a sanitizer sees no race in it.
void words_are_whole_while_written() {
  alignas(8) std::array<uint64_t, 8> shared{};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint64_t i = 0; i < 20000; ++i) {
      std::array<uint64_t, 8> words;
      words.fill(i << 32 | i);
      copy_to_shared(shared.data(), words.data(), sizeof words);
    }
    done = true;
  });
  while (!done) {
    std::array<uint64_t, 8> words;
    copy_from_shared(words.data(), shared.data(), sizeof words);
    for (const uint64_t word : words) g_assert_cmpuint(word >> 32, ==, word & 0xffffffff);
  }
  writer.join();
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/shared-copy/rounds-to-words", rounds_to_words},
                  {"/shared-copy/copies-all-sizes", copies_all_sizes},
                  {"/shared-copy/words-are-whole-while-written", words_are_whole_while_written}});
}
