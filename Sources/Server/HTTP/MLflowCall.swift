import Core
import Foundation
import HTTPTypes
import Hummingbird

/// The fields of a call of MLflow's REST API: the query of a GET, or the body.
struct MLflowCall: Sendable {
  /// Who calls, for the audit: the user of basic authentication where one is given. It is not proven.
  let who: String
  private let fields: [String: JSON]
  /// Fields of a query are texts, whatever they stand for.
  private let isQuery: Bool

  init(_ request: Request) async throws {
    who = Self.user(request.headers[.authorization]) ?? "mlflow"
    if request.method == .get, let query = request.uri.query, !query.isEmpty {
      isQuery = true
      fields = try Self.fields(query)
      return
    }
    isQuery = false
    var body = try await request.json()
    // Old clients send the JSON as text in JSON.
    if let text = body.string { body = try JSON(parsing: Array(text.utf8)) }
    guard case .object(let members) = body else {
      throw MLflowError.invalid("the body must be a JSON object")
    }
    fields = Dictionary(members.map { ($0.key, $0.value) }) { $1 }
  }

  func has(_ name: String) -> Bool { fields[name] != nil }

  /// Empty where it is not given.
  func text(_ name: String) throws -> String {
    guard let value = single(name), value != .null else { return "" }
    guard let text = value.string else { throw Self.wrong(name, value, "str") }
    return text
  }

  func required(_ name: String) throws -> String {
    // Versions and the like may come as numbers.
    if case .int(let number)? = single(name) { return String(number) }
    let text = try text(name)
    guard !text.isEmpty else {
      throw MLflowError.invalid("Missing value for required parameter '\(name)'.\(Self.hint)")
    }
    return text
  }

  func version() throws -> Int64 {
    let text = try required("version")
    guard let number = Int64(text) else {
      throw MLflowError.invalid("Parameter 'version' must be an integer, got '\(text)'.")
    }
    return number
  }

  func texts(_ name: String) throws -> [String] {
    guard let value = fields[name], value != .null else { return [] }
    guard let items = value.array else { throw Self.wrong(name, value, "list") }
    return try items.map { item in
      guard let text = item.string else { throw Self.wrong(name, item, "str") }
      return text
    }
  }

  func tags() throws -> [String: String] {
    guard let value = fields["tags"], value != .null else { return [:] }
    guard let items = value.array else { throw Self.wrong("tags", value, "list") }
    return try items.reduce(into: [:]) { tags, item in
      guard let key = item["key"]?.string else { throw Self.wrong("tags", item, "tag") }
      tags[key] = item["value"]?.string ?? ""
    }
  }

  func flag(_ name: String) throws -> Bool {
    guard let value = single(name), value != .null else { return false }
    if isQuery, let flag = value.string.flatMap({ Bool($0.lowercased()) }) { return flag }
    guard let flag = value.bool else { throw Self.wrong(name, value, "bool") }
    return flag
  }

  func maximum(default value: Int, most: Int) throws -> Int {
    guard let given = single("max_results"), given != .null else { return value }
    guard let number = given.int ?? given.string.flatMap(Int64.init), number > 0 else {
      throw MLflowError.invalid(
        "Invalid value for max_results. It must be a positive integer, but got \(given.string ?? given.text)"
      )
    }
    guard number <= most else {
      throw MLflowError.invalid(
        "Invalid value for request parameter max_results. It must be at most \(most), but got value \(number)"
      )
    }
    return Int(number)
  }

  private func single(_ name: String) -> JSON? {
    isQuery ? fields[name]?.array?.first : fields[name]
  }

  private static let hint = " See the API docs for more information about request parameters."

  private static func wrong(_ name: String, _ value: JSON, _ wanted: String) -> MLflowError {
    MLflowError.invalid(
      "Invalid value \(value.text) for parameter '\(name)' supplied: a \(wanted) is wanted.\(hint)")
  }

  /// Each field with all of its values, in order.
  private static func fields(_ query: String) throws -> [String: JSON] {
    var values: [String: [JSON]] = [:]
    for pair in query.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = decoded(parts[0]), let value = decoded(parts.count > 1 ? parts[1] : "")
      else { throw MLflowError.invalid("the query '\(pair)' is not well encoded") }
      values[name, default: []].append(.string(value))
    }
    return values.mapValues { .array($0) }
  }

  private static func decoded(_ text: Substring) -> String? {
    text.replacing("+", with: " ").removingPercentEncoding
  }

  private static func user(_ authorization: String?) -> String? {
    guard let authorization, authorization.hasPrefix("Basic "),
      let bytes = Data(base64Encoded: String(authorization.dropFirst(6)))
    else { return nil }
    let user = String(decoding: bytes, as: UTF8.self).prefix { $0 != ":" }
    return user.isEmpty ? nil : String(user.prefix(Limits.registryNameCharacters))
  }
}

/// A failure in MLflow's shape: `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "…"}`.
struct MLflowError: Error {
  enum Code: String {
    case resourceDoesNotExist = "RESOURCE_DOES_NOT_EXIST"
    case resourceAlreadyExists = "RESOURCE_ALREADY_EXISTS"
    case invalidParameterValue = "INVALID_PARAMETER_VALUE"
    case resourceConflict = "RESOURCE_CONFLICT"
    case requestLimitExceeded = "REQUEST_LIMIT_EXCEEDED"
    case temporarilyUnavailable = "TEMPORARILY_UNAVAILABLE"
    case endpointNotFound = "ENDPOINT_NOT_FOUND"
    case internalError = "INTERNAL_ERROR"

    /// As MLflow's server answers them.
    var status: HTTPResponse.Status {
      switch self {
      case .resourceDoesNotExist, .endpointNotFound: .notFound
      case .resourceAlreadyExists, .invalidParameterValue: .badRequest
      case .resourceConflict: .conflict
      case .requestLimitExceeded: .tooManyRequests
      case .temporarilyUnavailable: .serviceUnavailable
      case .internalError: .internalServerError
      }
    }
  }

  var code: Code
  var message: String

  static func invalid(_ message: String) -> MLflowError {
    MLflowError(code: .invalidParameterValue, message: message)
  }

  static func noEndpoint(_ request: Request) -> MLflowError {
    MLflowError(
      code: .endpointNotFound,
      message:
        "there is nothing at \(request.method) \(request.uri.path): Martlet has MLflow's model registry, not its tracking"
    )
  }

  init(code: Code, message: String) {
    self.code = code
    self.message = message
  }

  init(_ error: any Error) {
    if let error = error as? MLflowError {
      self = error
      return
    }
    let error = JSONResponse.platformError(error)
    message = error.description
    switch error.code {
    case .notFound: code = .resourceDoesNotExist
    case .alreadyExists: code = .resourceAlreadyExists
    case .invalidArgument, .invalidDefinition, .invalidRecord: code = .invalidParameterValue
    case .failedPrecondition, .conflict: code = .resourceConflict
    case .overloaded: code = .requestLimitExceeded
    case .unavailable: code = .temporarilyUnavailable
    default: code = .internalError
    }
  }

  var response: Response {
    JSONResponse.bytes(
      JSON.object(["error_code": .string(code.rawValue), "message": .string(message)]).utf8,
      status: code.status)
  }
}
