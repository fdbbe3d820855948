import Foundation

/// The files beside `martlet.yaml`, as far as reading definitions looks at them.
package struct ProjectFiles {
  /// Files larger than this are not looked into.
  private static let longest = 4 << 20

  /// Whether there is a file of this name, relative to the project's folder.
  package var exists: (String) -> Bool
  /// What is in it; nil where that is not known.
  package var text: (String) -> String?

  package init(
    exists: @escaping (String) -> Bool, text: @escaping (String) -> String? = { _ in nil }
  ) {
    self.exists = exists
    self.text = text
  }

  package init(directory: String) {
    self.init { file in
      var isDirectory: ObjCBool = false
      let path = directory + "/" + file
      return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
        && !isDirectory.boolValue
    } text: { file in
      let url = URL(fileURLWithPath: directory + "/" + file)
      guard let size = try? url.resourceValues(forKeys: [.fileSizeKey]).fileSize,
        size <= Self.longest, let data = try? Data(contentsOf: url)
      else { return nil }
      return String(data: data, encoding: .utf8)
    }
  }
}
