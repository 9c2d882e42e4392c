// A hash that is the same in every build and on every machine (FNV-1a, 64 bits, finished by splitmix64): for seeds and held-out
// stretches, which must not change with the standard library.
#pragma once

#include <cstdint>
#include <string_view>

namespace skerry::learning {

inline uint64_t stable_hash(std::string_view text, uint64_t salt) {
  uint64_t hash = 0xcbf29ce484222325ULL ^ salt * 0x9e3779b97f4a7c15ULL;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

}  // namespace skerry::learning
