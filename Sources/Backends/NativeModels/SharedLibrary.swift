import Core
import Foundation

/// A C library that was loaded while the process runs, and stays until it ends: it may have threads of its own.
struct SharedLibrary: @unchecked Sendable {
  // Written once by `dlopen`; `dlsym` may be called from any thread.
  private let handle: UnsafeMutableRawPointer
  let path: String

  /// - Throws: `unavailable` where the file is not there or is not a library for this machine.
  init(at path: String) throws {
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      let why = dlerror().map { String(cString: $0) } ?? "no reason is known"
      throw PlatformError(.unavailable, "the library \(path) cannot be loaded: \(why)")
    }
    self.handle = handle
    self.path = path
  }

  /// A function of the library; `Function` is its type with `@convention(c)`, as its header declares it.
  func function<Function>(_ name: String, as type: Function.Type = Function.self) throws -> Function
  {
    guard let symbol = dlsym(handle, name) else {
      throw PlatformError(
        .unavailable,
        "the library \(path) has no function \(name); install a version that has it")
    }
    return unsafeBitCast(symbol, to: type)
  }
}

/// What a C library hands out and takes back; it may cross threads where the library's documentation lets it.
struct ForeignHandle: @unchecked Sendable {
  let pointer: UnsafeMutableRawPointer
}
