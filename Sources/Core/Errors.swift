/// What kind of failure it is; one table maps each to HTTP, gRPC, exit status and help.
package enum ErrorCode: String, Sendable, Codable, CaseIterable {
  case invalidArgument = "invalid_argument"
  case invalidDefinition = "invalid_definition"
  case invalidConfiguration = "invalid_configuration"
  case invalidRecord = "invalid_record"
  case notFound = "not_found"
  case alreadyExists = "already_exists"
  case conflict
  case failedPrecondition = "failed_precondition"
  case missingFeature = "missing_feature"
  case overloaded
  case deadlineExceeded = "deadline_exceeded"
  case cancelled
  case unavailable
  case userCode = "user_code"
  case storage
  case internalError = "internal"
}

/// The one shape of every error that a user can see.
///
/// `message` says what happened, where, and what to do next. `context` holds user data (never secrets);
/// `retryable` says that the same call may succeed later without any change.
package struct PlatformError: Error, Sendable, CustomStringConvertible {
  package var code: ErrorCode
  package var message: String
  package var cause: String?
  package var context: [String: String]
  package var retryable: Bool
  /// When a refused caller may try again.
  package var retryAfter: Span?

  package init(
    _ code: ErrorCode, _ message: String, cause: (any Error)? = nil,
    context: [String: String] = [:], retryable: Bool? = nil, retryAfter: Span? = nil
  ) {
    self.code = code
    self.message = message
    self.cause = cause.map { "\($0)" }
    self.context = context
    self.retryable =
      retryable ?? (code == .overloaded || code == .unavailable || code == .deadlineExceeded)
    self.retryAfter = retryAfter
  }

  package var description: String {
    cause.map { "\(message) (\($0))" } ?? message
  }
}

extension ErrorCode {
  /// How the code looks from outside: one row for every transport.
  package var mapping: (http: Int, grpc: Int, exit: Int32, help: String) {
    switch self {
    case .invalidArgument: (400, 3, 2, "The request is malformed; correct it as the message says.")
    case .invalidDefinition:
      (422, 3, 1, "martlet.yaml has errors; every one is listed with its place.")
    case .invalidConfiguration:
      (500, 9, 1, "Correct the configuration; `martlet config show` prints it.")
    case .invalidRecord: (422, 3, 1, "Records were refused; nothing of a strict file was stored.")
    case .notFound: (404, 5, 1, "The name is unknown; the message lists the nearest one.")
    case .alreadyExists: (409, 6, 1, "It exists already; choose another name.")
    case .conflict: (409, 10, 1, "Something changed meanwhile; read again and retry.")
    case .failedPrecondition: (412, 9, 1, "Something must be done first; the message says what.")
    case .missingFeature: (422, 9, 1, "A feature has no value and the model's policy is `error`.")
    case .overloaded: (429, 8, 1, "The platform is at its limit; retry after the stated time.")
    case .deadlineExceeded: (504, 4, 1, "It took longer than allowed; retry, or allow more time.")
    case .cancelled: (499, 1, 1, "The caller went away.")
    case .unavailable: (503, 14, 1, "A part of the platform is away; retry later.")
    case .userCode:
      (422, 9, 1, "A Python function of the project failed; its traceback is in the log.")
    case .storage:
      (500, 13, 1, "A store failed; nothing acknowledged is lost. See `martlet doctor`.")
    case .internalError: (500, 13, 1, "A defect of Martlet; please report it with the log.")
    }
  }
}

/// The candidate nearest to a misspelt name, nil when none is near.
///
/// Nearness is the Levenshtein distance, at most a third of the name's length (at least 1).
package func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
  let limit = max(1, name.count / 3)
  let best = candidates.map { (editDistance(name.lowercased(), $0.lowercased()), $0) }
    .min { ($0.0, $0.1) < ($1.0, $1.1) }
  guard let best, best.0 <= limit else { return nil }
  return best.1
}

/// `; did you mean 'x'?` or, where nothing is near, `; known: a, b` – ready to end a message.
package func suggestion(for name: String, among candidates: some Sequence<String>) -> String {
  if let near = nearestName(to: name, among: candidates) { return "; did you mean '\(near)'?" }
  let known = candidates.sorted().prefix(12)
  return known.isEmpty ? "; there are none" : "; known: \(known.joined(separator: ", "))"
}

private func editDistance(_ a: String, _ b: String) -> Int {
  let a = Array(a)
  let b = Array(b)
  var previous = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var current = [i + 1]
    for (j, y) in b.enumerated() {
      current.append(min(previous[j] + (x == y ? 0 : 1), previous[j + 1] + 1, current[j] + 1))
    }
    previous = current
  }
  return previous[b.count]
}
