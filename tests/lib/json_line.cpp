// Lines of JSON: what is put in comes out, and what others write is taken or refused.
#include "lib/json_line.h"

#include "tests/lib/helpers.h"

namespace mmaplink::test {
namespace {

void check_same(const std::string& text, const std::string& wanted) {
  g_assert_cmpstr(text.c_str(), ==, wanted.c_str());
}

std::string quoted(const std::string& text) { return JsonLine().text("a", text).line(); }

void texts_are_escaped() {
  check_same(JsonLine().line(), "{}");
  check_same(JsonLine().text("a", "x").number("b", ~uint64_t{0}).line(),
             R"({"a":"x","b":18446744073709551615})");
  check_same(quoted("\"\\\n\x1b[2J\x7f"), R"({"a":"\"\\\u000a\u001b[2J\u007f"})");
  // An order to a terminal, as a character of its own.
  check_same(quoted("\xc2\x80\xc2\x9b\xc2\xa0"), "{\"a\":\"\\u0080\\u009b\xc2\xa0\"}");
  check_same(quoted(std::string("\0", 1)), R"({"a":"\u0000"})");
  check_same(quoted("é€𝄞"), R"({"a":"é€𝄞"})");
}

// Cut, overlong, halves of pairs, beyond the last character, without a beginning.
void what_is_no_utf8_is_replaced() {
  for (const char* text : {"\xff", "\x80", "\xc3", "\xc0", "\xf8"})
    check_same(quoted(text), R"({"a":"�"})");
  check_same(quoted("\xe2\x82"), R"({"a":"��"})");
  check_same(quoted("\xc0\xafx"), R"({"a":"��x"})");
  for (const char* text : {"\xe0\x80\x80", "\xed\xa0\x80"})
    check_same(quoted(text), R"({"a":"���"})");
  for (const char* text : {"\xf4\x90\x80\x80", "\xf0\x80\x80\x80"})
    check_same(quoted(text), R"({"a":"����"})");
}

void lines_are_parsed() {
  const auto fields =
      JsonFields::parse(R"( { "a" : 7, "b":"x\n\"\u00e9\ud834\udd1e\ud834" , "c":""})");
  g_assert_true(fields.has_value());
  g_assert_cmpuint(fields->number("a"), ==, 7);
  check_same(fields->text("b"), "x\n\"é𝄞\xef\xbf\xbd");
  g_assert_true(fields->has("c") && !fields->has("d"));
  // Of the other kind, or not there.
  g_assert_cmpuint(fields->number("b"), ==, 0);
  g_assert_cmpuint(fields->number("d"), ==, 0);
  check_same(fields->text("a"), "");
  check_same(fields->line(), R"({"a":7,"b":"x\u000a\"é𝄞�","c":""})");
  g_assert_true(JsonFields::parse("{}").has_value());
}

void what_is_none_is_refused() {
  for (const char* line : {"",
                           "x",
                           "{",
                           "{}x",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1",
                           "{\"a\":1,}",
                           "{,}",
                           "{\"a\":-1}",
                           "{\"a\":1.5}",
                           "{\"a\":18446744073709551616}",
                           "{\"a\":\"x}",
                           "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\u12\"}",
                           "{\"a\":\"\\u12g4\"}",
                           "{\"a\":\"\\ud834\\u1\"}",
                           "{\"a\":\"\n\"}",
                           "{\"a\":[]}",
                           "{\"a\":{}}",
                           "{\"a\":true}",
                           "{\"a\":\"\\",
                           "{\"a\":\"\\u"})
    if (JsonFields::parse(line)) g_error("taken: %s", line);
  JsonLine many;
  for (int i = 0; i < 65; ++i) many.number("n", 1);
  g_assert_false(JsonFields::parse(many.line()).has_value());
}

// Whatever comes: it is refused, or comes out as a line that is the same when it is read again.
void any_bytes_do_no_harm() {
  Random random;
  const std::string good = R"({"a":"\u00e9\ud834\udd1e\"x","bc":123,"d":"y"})";
  for (int i = 0; i < 100'000; ++i) {
    std::string line = good;
    for (int changes = 1 + static_cast<int>(random.below(3)); changes > 0; --changes)
      line[random.below(static_cast<uint32_t>(line.size()))] = static_cast<char>(random.below(256));
    line.resize(random.one_in(4) ? random.below(static_cast<uint32_t>(line.size())) : line.size());
    const auto fields = JsonFields::parse(line);
    if (!fields) continue;
    const auto again = JsonFields::parse(fields->line());
    g_assert_true(again && again->line() == fields->line());
  }
}

}  // namespace
}  // namespace mmaplink::test

int main(int argc, char** argv) {
  using namespace mmaplink::test;
  return run_all(argc, argv,
                 {{"/json-line/texts-are-escaped", texts_are_escaped},
                  {"/json-line/what-is-no-utf8-is-replaced", what_is_no_utf8_is_replaced},
                  {"/json-line/lines-are-parsed", lines_are_parsed},
                  {"/json-line/what-is-none-is-refused", what_is_none_is_refused},
                  {"/json-line/any-bytes-do-no-harm", any_bytes_do_no_harm}});
}
