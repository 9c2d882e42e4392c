// For the tests of frontends: files into graphs, graphs into answers, answers compared.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "inference/graph/reference.h"

namespace skerry::test {

using inference::graph::Array;
using inference::graph::Graph;

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Frontend>
Graph must_read(Frontend frontend, const std::string& file) {
  Result<Graph> graph = frontend(std::as_bytes(std::span(file)));
  INFO((graph.ok() ? "" : graph.error().message));
  REQUIRE(graph.ok());
  return *graph;
}

inline std::vector<Array> answers(const Graph& graph, const std::vector<Array>& inputs) {
  Result<inference::graph::Reference> reference = inference::graph::Reference::open(graph);
  INFO((reference.ok() ? "" : reference.error().message));
  REQUIRE(reference.ok());
  Result<std::vector<Array>> result = reference->run(inputs);
  INFO((result.ok() ? "" : result.error().message));
  REQUIRE(result.ok());
  return *result;
}

inline size_t count_of(const inference::graph::Shape& shape) { return static_cast<size_t>(inference::graph::elements(shape)); }

inline Array random_array(inference::graph::Shape shape, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  Array array{shape, std::vector<float>(count_of(shape))};
  for (float& value : array.data) value = uniform(generator);
  return array;
}

// |a - b| / |b|, Euclidean.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-12));
}

inline void check_close(const std::vector<float>& got, const std::vector<float>& wanted, double margin = 1e-5) {
  REQUIRE(got.size() == wanted.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(wanted[i]).margin(margin));
}

}  // namespace skerry::test
