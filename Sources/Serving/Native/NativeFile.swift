import Core
import Foundation

/// What `martlet_worker.native` writes: a line of JSON, then the model in its library's own format.
struct NativeFile: Sendable {
  struct Header: Decodable, Sendable {
    struct Scaler: Decodable, Sendable {
      var scaler: String
      var mean: [Double]?
      var scale: [Double]?
      var minimum: [Double]?
      var clip: [Double]?
    }

    var schema: Int
    var kind: String
    var `class`: String
    /// Why there is no native form, where there is none.
    var why: String?
    var features: [String]?
    var library: String?
    /// By feature, its texts in the order of their numbers.
    var categories: [String: [String]]?
    var iterations: [Int]?
    var steps: [Scaler]?
    var coefficients: [Double]?
    var intercept: Double?
    var link: String?
  }

  static let schema = 1

  let header: Header
  let payload: [UInt8]

  init(_ bytes: [UInt8]) throws {
    guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
      throw Self.broken("it has no first line")
    }
    do {
      header = try JSONDecoder().decode(Header.self, from: Data(bytes[..<end]))
    } catch {
      throw Self.broken("its first line is not what a worker writes: \(error)")
    }
    guard header.schema == Self.schema else {
      throw Self.broken("it has schema \(header.schema), and this platform reads \(Self.schema)")
    }
    payload = Array(bytes[(end + 1)...])
  }

  static func broken(_ why: String) -> PlatformError {
    PlatformError(
      .internalError,
      "the native form of the model cannot be read: \(why); train the model again with this release"
    )
  }

  var features: [String] { header.features ?? [] }

  /// By feature, the number of each text.
  var categories: [String: [String: Double]] {
    (header.categories ?? [:]).mapValues { texts in
      Dictionary(texts.enumerated().map { ($1, Double($0)) }) { first, _ in first }
    }
  }

  /// Opens the model with what the file's kind asks for.
  ///
  /// - Throws: `failed_precondition` for a kind that has no native form.
  func model(by libraries: [String: any NativeLibrary]) throws -> any NativeModel {
    switch header.kind {
    case "linear": return try LinearModel(header)
    case "none":
      throw PlatformError(.failedPrecondition, header.why ?? "the model has no native form")
    default:
      guard let library = libraries[header.kind] else {
        throw PlatformError(
          .failedPrecondition, "this platform knows no native models of the kind '\(header.kind)'")
      }
      return try library.open(
        NativeModelFile(
          width: features.count, library: header.library ?? "", iterations: try iterations(),
          bytes: payload))
    }
  }

  private func iterations() throws -> Range<Int>? {
    guard let bounds = header.iterations else { return nil }
    guard bounds.count == 2, bounds[0] >= 0, bounds[1] >= bounds[0] else {
      throw Self.broken("its iterations are \(bounds)")
    }
    return bounds[0]..<bounds[1]
  }
}
