import Core
import Foundation

/// Where the library of a Python package is: at a given path, or in the package itself.
package struct LibraryFile: Sendable {
  /// The setting that names the path.
  let setting: String
  let path: String?
  let python: String
  let package: String
  /// Inside the package.
  let file: String

  package static func lightGBM(path: String?, python: String) -> LibraryFile {
    LibraryFile(
      setting: "serving.lightgbm_library", path: path, python: python, package: "lightgbm",
      file: "lib/lib_lightgbm.so")
  }

  package static func xgboost(path: String?, python: String) -> LibraryFile {
    LibraryFile(
      setting: "serving.xgboost_library", path: path, python: python, package: "xgboost",
      file: "lib/libxgboost.so")
  }

  /// The path to load; asks the interpreter where no path is given, which takes some hundredths of a second.
  ///
  /// - Throws: `unavailable` where there is no such file, with what to do.
  func locate() throws -> String {
    if let path {
      guard FileManager.default.fileExists(atPath: path) else {
        throw PlatformError(
          .unavailable, "there is no \(path), which \(setting) names; correct the setting")
      }
      return path
    }
    for folder in folders() {
      let path = folder + "/" + file
      if FileManager.default.fileExists(atPath: path) { return path }
    }
    throw PlatformError(
      .unavailable,
      "\(python) has no package '\(package)' with its \(file); `\(python) -m pip install \(package)`, or set "
        + "\(setting) to the library")
  }

  /// Where the interpreter would import the package from. The package itself is not imported.
  private func folders() -> [String] {
    let code = """
      import importlib.util
      spec = importlib.util.find_spec("\(package)")
      print(*(spec.submodule_search_locations or [] if spec else []), sep="\\n")
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [python, "-c", code]
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return [] }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
  }
}
