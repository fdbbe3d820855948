/// One place that breaks one house rule, printed as `path:line: what is wrong and what to do`.
struct Violation: Equatable, CustomStringConvertible {
  var path: String
  var line: Int
  var message: String

  var description: String { "\(path):\(line): \(message)" }
}
