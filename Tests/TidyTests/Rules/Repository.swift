import Foundation

/// The checkout this test was compiled from.
enum Repository {
  /// The nearest folder above this file that holds `Package.swift`.
  static let root: URL = {
    var folder = URL(filePath: #filePath).deletingLastPathComponent()
    while folder.path() != "/",
      !FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path())
    {
      folder.deleteLastPathComponent()
    }
    return folder
  }()

  /// Every text file that people write: no generated code, no data, nothing built or hidden.
  static func files() throws -> [SourceFile] {
    let keys: [URLResourceKey] = [.isDirectoryKey, .isRegularFileKey, .fileSizeKey]
    let found = FileManager.default.enumerator(
      at: root, includingPropertiesForKeys: keys, options: [.skipsHiddenFiles])
    guard let found else { throw CocoaError(.fileReadNoSuchFile) }
    var files: [SourceFile] = []
    for case let url as URL in found {
      let path = path(of: url)
      let values = try url.resourceValues(forKeys: Set(keys))
      if values.isDirectory == true {
        if skippedFolders.contains(where: { path == $0 || url.lastPathComponent == $0 }) {
          found.skipDescendants()
        }
      } else if values.isRegularFile == true, isWritten(url, bytes: values.fileSize ?? 0) {
        if let text = try? String(contentsOf: url, encoding: .utf8) {
          files.append(SourceFile(path: path, text: text))
        }
      }
    }
    return files.sorted { $0.path < $1.path }
  }

  /// Generated code and what tools leave behind.
  private static let skippedFolders: Set<String> = [
    "Sources/Wire", "__pycache__", "martlet-data", "node_modules",
  ]

  private static let writtenExtensions: Set<String> = [
    "", "c", "h", "json", "md", "modulemap", "proto", "py", "sh", "sql", "swift", "toml", "txt",
    "yaml", "yml",
  ]

  private static func isWritten(_ url: URL, bytes: Int) -> Bool {
    bytes < 1 << 20 && writtenExtensions.contains(url.pathExtension)
      && !url.lastPathComponent.contains("_pb2.")
  }

  private static func path(of url: URL) -> String {
    let prefix = root.standardizedFileURL.path(percentEncoded: false)
    let path = url.standardizedFileURL.path(percentEncoded: false)
    let relative = path.hasPrefix(prefix) ? path.dropFirst(prefix.count) : path[...]
    return relative.split(separator: "/").joined(separator: "/")
  }
}
