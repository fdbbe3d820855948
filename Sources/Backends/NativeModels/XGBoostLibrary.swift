import Core
import Foundation
import Synchronization

/// XGBoost's own C library, loaded at the first model.
package final class XGBoostLibrary: NativeLibrary {
  private let file: LibraryFile
  private let loaded = Mutex<XGBoostFunctions?>(nil)

  package init(_ file: LibraryFile) { self.file = file }

  package func open(_ model: NativeModelFile) throws -> any NativeModel {
    let functions = try loaded.withLock { loaded in
      if let loaded { return loaded }
      let functions = try XGBoostFunctions(SharedLibrary(at: file.locate()))
      loaded = functions
      return functions
    }
    return try XGBoostModel(functions, model)
  }
}

/// The functions of `xgboost/c_api.h` that scoring takes; each answers 0, or else `lastError` tells why.
struct XGBoostFunctions: Sendable {
  typealias Handle = UnsafeMutableRawPointer
  typealias Shape = UnsafeMutablePointer<UnsafePointer<UInt64>?>
  typealias Answer = UnsafeMutablePointer<UnsafePointer<Float>?>
  typealias Create =
    @convention(c) (UnsafeRawPointer?, UInt64, UnsafeMutablePointer<Handle?>) -> CInt
  typealias Free = @convention(c) (Handle) -> CInt
  typealias Load = @convention(c) (Handle, UnsafeRawPointer, UInt64) -> CInt
  typealias Set =
    @convention(c) (Handle, UnsafePointer<CChar>, UnsafePointer<CChar>) -> CInt
  typealias Count = @convention(c) (Handle, UnsafeMutablePointer<UInt64>) -> CInt
  typealias PredictDense =
    @convention(c) (
      Handle, UnsafePointer<CChar>, UnsafePointer<CChar>, Handle?, Shape,
      UnsafeMutablePointer<UInt64>, Answer
    ) -> CInt
  typealias CreateMatrix =
    @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutablePointer<Handle?>) ->
    CInt
  typealias PredictMatrix =
    @convention(c) (
      Handle, Handle, UnsafePointer<CChar>, Shape, UnsafeMutablePointer<UInt64>, Answer
    ) -> CInt
  typealias LastError = @convention(c) () -> UnsafePointer<CChar>?

  let create: Create
  let free: Free
  let load: Load
  let set: Set
  let featureCount: Count
  let predictDense: PredictDense
  let createMatrix: CreateMatrix
  let freeMatrix: Free
  let predictMatrix: PredictMatrix
  let lastError: LastError

  init(_ library: SharedLibrary) throws {
    create = try library.function("XGBoosterCreate")
    free = try library.function("XGBoosterFree")
    load = try library.function("XGBoosterLoadModelFromBuffer")
    set = try library.function("XGBoosterSetParam")
    featureCount = try library.function("XGBoosterGetNumFeature")
    predictDense = try library.function("XGBoosterPredictFromDense")
    createMatrix = try library.function("XGDMatrixCreateFromDense")
    freeMatrix = try library.function("XGDMatrixFree")
    predictMatrix = try library.function("XGBoosterPredictFromDMatrix")
    lastError = try library.function("XGBGetLastError")
  }

  func check(_ status: CInt, _ what: String) throws {
    guard status != 0 else { return }
    // The first line says it; a stack trace follows.
    let text = lastError().map { String(cString: $0) } ?? "no reason is known"
    let why = text.split(separator: "\n").first.map(String.init) ?? text
    throw PlatformError(.internalError, "XGBoost cannot \(what): \(why)")
  }
}
