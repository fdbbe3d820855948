import Foundation

/// Where the worker's Python package is: beside the binary in a checkout, or installed.
enum PythonRuntime {
  /// Folders for PYTHONPATH; empty where `martlet_worker` is installed in the interpreter itself.
  static var path: [String] {
    let binary = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    var folder = binary.deletingLastPathComponent()
    // A checkout has it some levels above .build/<triple>/release, an installation in ../share.
    for _ in 0..<6 {
      for candidate in ["python", "share/martlet/python"] {
        let path = folder.appendingPathComponent(candidate).path
        if FileManager.default.fileExists(atPath: path + "/martlet_worker/__main__.py") {
          return [path]
        }
      }
      folder.deleteLastPathComponent()
    }
    return []
  }
}
