// Writing the corpus that the fuzzers begin with.
#pragma once

#include <string>
#include <vector>

namespace fuzz {

// DIRECTORY/TARGET/NAME.
class Corpus {
 public:
  explicit Corpus(std::string directory) : directory_(std::move(directory)) {}
  void add(const std::string& target, const std::string& name,
           const std::vector<std::byte>& bytes) const;

 private:
  const std::string directory_;
};

// Of lib/, in seeds-link.cpp.
void add_links(const Corpus& corpus);

template <class T>
void put(std::vector<std::byte>& to, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof value);
}

}  // namespace fuzz
