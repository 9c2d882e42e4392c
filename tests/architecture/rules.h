// The directions of the house as a check: who may include whom, where a third-party header may appear, and that a folder's README
// lists its public headers. Pure functions over a tree of file contents, so that made-up bad trees can show that each rule bites.
// To give a new library its place, or a room a new neighbour, change the tables in rules.cpp: in the same commit as the reason.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace skerry::architecture {

// Path from the root of the source tree, with '/', to content.
using Tree = std::map<std::string, std::string>;

struct Violation {
  std::string file;
  size_t line = 0;
  std::string message;      // what is wrong, and the remedy
  std::string text() const; // "storage/store.cpp:12: message"
};

// The C++ sources, headers and READMEs of the rooms under `root`, without build folders.
Tree read_tree(const std::filesystem::path& root);

std::vector<Violation> check_directions(const Tree& tree);
std::vector<Violation> check_third_party(const Tree& tree);
std::vector<Violation> check_readmes(const Tree& tree);

}  // namespace skerry::architecture
