#include "inference/package.h"

#include <algorithm>
#include <system_error>

#include "base/file.h"
#include "base/log.h"
#include "inference/internal/manifest.h"

namespace skerry::inference {
namespace {

namespace fs = std::filesystem;

Error file_error(const char* what, const fs::path& path, const std::error_code& error) {
  Code code = error == std::errc::no_such_file_or_directory ? Code::not_found
              : error == std::errc::no_space_on_device      ? Code::exhausted
                                                            : Code::unavailable;
  return fail(code, "cannot {} {}: {}", what, path.string(), error.message());
}

// Names of the files in a package folder, sorted, without the manifest. Refuses what a package can't have:
// folders, links, odd names.
Result<std::vector<std::string>> list_files(const fs::path& folder) {
  std::error_code error;
  fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status)) return fail(Code::not_found, "there is no package folder {}", folder.string());
  if (!fs::is_directory(status))
    return fail(Code::invalid, "{} is not a folder: a package is one", folder.string());
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    std::error_code ignored;
    if (it->symlink_status(ignored).type() != fs::file_type::regular ||
        (name != kManifestFile && !is_package_file_name(name))) {
      return fail(Code::invalid,
                  "{} does not belong into a package: only plain files with plain names do; remove it",
                  it->path().string());
    }
    if (name != kManifestFile) names.push_back(name);
    if (names.size() > kPackageFilesMax) {
      return fail(Code::invalid, "{} has more than {} files: it is no package", folder.string(),
                  kPackageFilesMax);
    }
  }
  if (error) return file_error("read", folder, error);
  std::sort(names.begin(), names.end());
  return names;
}

Status check_names(const fs::path& folder, const std::vector<ManifestEntry>& entries,
                   const std::vector<std::string>& files) {
  for (const ManifestEntry& entry : entries) {
    if (!std::binary_search(files.begin(), files.end(), entry.name)) {
      return fail(Code::corrupt, "{} is missing, the manifest lists it: copy the package again",
                  (folder / entry.name).string());
    }
  }
  for (const std::string& name : files) {
    if (std::none_of(entries.begin(), entries.end(),
                     [&](const ManifestEntry& e) { return e.name == name; })) {
      return fail(Code::corrupt, "{} is not in the manifest: remove it, or seal the package again",
                  (folder / name).string());
    }
  }
  return {};
}

// Reads one file and holds it against its line of the manifest. The size first: a file that grew is not read.
Result<std::string> read_verified(const fs::path& folder, const ManifestEntry& entry) {
  fs::path path = folder / entry.name;
  std::error_code error;
  uint64_t bytes = fs::file_size(path, error);
  if (error) return file_error("read", path, error);
  if (bytes != entry.bytes) {
    return fail(Code::corrupt, "{} has {} bytes, the manifest says {}: copy the package again", path.string(),
                bytes, entry.bytes);
  }
  SKERRY_ASSIGN(std::string content, read_file(path, entry.bytes));
  if (sha256_hex(content) != entry.sha256) {
    return fail(Code::corrupt, "{} does not have the checksum of the manifest: copy the package again",
                path.string());
  }
  return content;
}

Result<std::vector<ManifestEntry>> read_manifest(const fs::path& folder, std::string& digest) {
  fs::path path = folder / kManifestFile;
  Result<std::string> text = read_file(path, kManifestBytesMax);
  if (!text.ok() && text.error().code == Code::not_found) {
    return fail(Code::corrupt, "{} is missing: copy the package again, or seal it", path.string());
  }
  if (!text.ok()) return text.error();
  digest = sha256_hex(*text);
  return parse_manifest(*text, path.string());
}

Status copy_files(const fs::path& from, const fs::path& to) {
  SKERRY_ASSIGN(std::vector<std::string> names, list_files(from));
  names.push_back(kManifestFile);
  for (const std::string& name : names) {
    std::error_code error;
    if (!fs::copy_file(from / name, to / name, error)) return file_error("copy to", to / name, error);
  }
  return {};
}

// Copies into `staging` (emptied first), so that what is verified is what will be published.
Result<Package> stage(const Package& source, const fs::path& staging, uint64_t bytes_max) {
  std::error_code error;
  fs::remove_all(staging, error);
  if (!error) fs::create_directories(staging, error);
  if (error) return file_error("create", staging, error);
  SKERRY_TRY(copy_files(source.folder, staging));
  SKERRY_ASSIGN(Package copy, Package::open(staging, bytes_max));
  if (copy.digest != source.digest) {
    return fail(Code::unavailable, "{} changed while it was copied: try again", source.folder.string());
  }
  return copy;
}

}  // namespace

Result<Package> Package::open(const fs::path& folder, uint64_t bytes_max) {
  SKERRY_ASSIGN(std::vector<std::string> files, list_files(folder));
  Package package;
  package.folder = folder;
  SKERRY_ASSIGN(std::vector<ManifestEntry> entries, read_manifest(folder, package.digest));
  SKERRY_TRY(check_names(folder, entries, files));

  uint64_t bytes_left = bytes_max;
  for (const ManifestEntry& entry : entries) {  // before anything is read
    if (entry.bytes > bytes_left) {
      return fail(Code::exhausted,
                  "{} has more than {} bytes: raise inference.package_bytes_max if that is right",
                  folder.string(), bytes_max);
    }
    bytes_left -= entry.bytes;
  }
  std::string model_toml;
  bool has_model_toml = false;
  for (const ManifestEntry& entry : entries) {
    SKERRY_ASSIGN(std::string content, read_verified(folder, entry));
    if (entry.name != kModelFile) continue;
    model_toml = std::move(content);
    has_model_toml = true;
  }
  fs::path model_path = folder / kModelFile;
  if (!has_model_toml)
    return fail(Code::corrupt, "{} is missing: copy the package again, or seal it", model_path.string());
  SKERRY_ASSIGN(package.info, parse_package_info(model_toml, model_path.string()));
  if (std::none_of(entries.begin(), entries.end(),
                   [&](const ManifestEntry& e) { return e.name == package.info.int8_file; })) {
    return fail(Code::invalid, "{} names int8_file '{}', which is not in the package", model_path.string(),
                package.info.int8_file);
  }
  return package;
}

Status seal_package(const fs::path& folder, const PackageInfo& info) {
  std::string text = to_toml(info);
  SKERRY_TRY(parse_package_info(text, (folder / kModelFile).string()));
  SKERRY_TRY(write_file_atomic(folder / kModelFile, text));
  SKERRY_ASSIGN(std::vector<std::string> files, list_files(folder));
  if (!std::binary_search(files.begin(), files.end(), info.int8_file)) {
    return fail(Code::invalid, "{} is missing: put it into the folder before sealing",
                (folder / info.int8_file).string());
  }
  std::vector<ManifestEntry> entries;
  for (const std::string& name : files) {
    SKERRY_ASSIGN(std::string content, read_file(folder / name, UINT64_MAX));
    entries.push_back({sha256_hex(content), content.size(), name});
  }
  return write_file_atomic(folder / kManifestFile, to_text(entries));
}

Result<Package> install_package(const fs::path& from, const fs::path& models, uint64_t bytes_max) {
  SKERRY_ASSIGN(Package source, Package::open(from, bytes_max));
  std::string version = std::to_string(source.info.version);
  fs::path target = models / source.info.name / version;
  std::error_code error;
  if (fs::exists(target, error)) {
    Result<Package> there = Package::open(target, bytes_max);
    if (there.ok() && there->digest == source.digest) return there;
    if (there.ok()) {
      return fail(Code::invalid,
                  "{} is there already with other content: give the new package another version",
                  target.string());
    }
    if (there.error().code != Code::corrupt && there.error().code != Code::invalid) return there.error();
    log::warn("inference", "replacing a damaged package: {}", there.error().message);
    fs::remove_all(target, error);
    if (error) return file_error("remove", target, error);
  }
  fs::path staging = models / source.info.name / (".incoming-" + version);
  Result<Package> copy = stage(source, staging, bytes_max);
  Status published = copy.ok() ? publish_folder(staging, target) : Status(copy.error());
  if (!published.ok()) {
    fs::remove_all(staging, error);
    return published.error();
  }
  copy->folder = target;
  return copy;
}

}  // namespace skerry::inference
