import Core
import Foundation
import Synchronization

/// LightGBM's own C library, loaded at the first model.
package final class LightGBMLibrary: NativeLibrary {
  private let file: LibraryFile
  private let loaded = Mutex<LightGBMFunctions?>(nil)

  package init(_ file: LibraryFile) { self.file = file }

  package func open(_ model: NativeModelFile) throws -> any NativeModel {
    let functions = try loaded.withLock { loaded in
      if let loaded { return loaded }
      let functions = try LightGBMFunctions(SharedLibrary(at: file.locate()))
      loaded = functions
      return functions
    }
    return try LightGBMModel(functions, model)
  }
}

/// The functions of `LightGBM/c_api.h` that scoring takes; each answers 0, or else `lastError` tells why.
struct LightGBMFunctions: Sendable {
  typealias Handle = UnsafeMutableRawPointer
  typealias Load =
    @convention(c) (
      UnsafePointer<CChar>, UnsafeMutablePointer<CInt>, UnsafeMutablePointer<Handle?>
    ) -> CInt
  typealias Free = @convention(c) (Handle) -> CInt
  typealias Count = @convention(c) (Handle, UnsafeMutablePointer<CInt>) -> CInt
  typealias PredictRows =
    @convention(c) (
      Handle, UnsafeRawPointer, CInt, Int32, Int32, CInt, CInt, CInt, CInt, UnsafePointer<CChar>,
      UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Double>
    ) -> CInt
  typealias PrepareRow =
    @convention(c) (
      Handle, CInt, CInt, CInt, CInt, Int32, UnsafePointer<CChar>, UnsafeMutablePointer<Handle?>
    ) -> CInt
  typealias PredictRow =
    @convention(c) (
      Handle, UnsafeRawPointer, UnsafeMutablePointer<Int64>, UnsafeMutablePointer<Double>
    ) -> CInt
  typealias LastError = @convention(c) () -> UnsafePointer<CChar>?

  static let float64: CInt = 1
  static let normal: CInt = 0
  static let contribution: CInt = 3
  /// One row is not worth waking other threads, and many requests keep every core busy anyway.
  static let parameters = "num_threads=1 verbosity=-1"

  let load: Load
  let free: Free
  let featureCount: Count
  let classCount: Count
  let predictRows: PredictRows
  let prepareRow: PrepareRow
  let predictRow: PredictRow
  let freeRow: Free
  let lastError: LastError

  init(_ library: SharedLibrary) throws {
    load = try library.function("LGBM_BoosterLoadModelFromString")
    free = try library.function("LGBM_BoosterFree")
    featureCount = try library.function("LGBM_BoosterGetNumFeature")
    classCount = try library.function("LGBM_BoosterGetNumClasses")
    predictRows = try library.function("LGBM_BoosterPredictForMat")
    prepareRow = try library.function("LGBM_BoosterPredictForMatSingleRowFastInit")
    predictRow = try library.function("LGBM_BoosterPredictForMatSingleRowFast")
    freeRow = try library.function("LGBM_FastConfigFree")
    lastError = try library.function("LGBM_GetLastError")
  }

  func check(_ status: CInt, _ what: String) throws {
    guard status != 0 else { return }
    let why = lastError().map { String(cString: $0) } ?? "no reason is known"
    throw PlatformError(.internalError, "LightGBM cannot \(what): \(why)")
  }

  func count(_ function: Count, of booster: Handle) throws -> Int {
    var count: CInt = 0
    try check(function(booster, &count), "tell the shape of the model")
    return Int(count)
  }
}
