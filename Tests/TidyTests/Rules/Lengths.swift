/// How long a file and a function may be: what fits in the head and on a screen.
enum Lengths {
  static let longestFile = 600
  static let longestFunction = 70

  static func violations(in file: SourceFile) -> [Violation] {
    fileViolations(in: file) + functionViolations(in: file)
  }

  static func fileViolations(in file: SourceFile) -> [Violation] {
    let sources = [".swift", ".py", ".proto"]
    let isScript = file.text.starts(with: "#!".utf8)
    guard isScript || sources.contains(where: { file.path.hasSuffix($0) }) else { return [] }
    guard file.lineCount > longestFile else { return [] }
    return [
      Violation(
        path: file.path, line: longestFile + 1,
        message: "\(file.lineCount) lines, at most \(longestFile): "
          + "move one of its nouns to a file of its own")
    ]
  }

  static func functionViolations(in file: SourceFile) -> [Violation] {
    functions(in: file).filter { $0.lineCount > longestFunction }.map {
      Violation(
        path: file.path, line: $0.firstLine,
        message: "\($0.name) has \($0.lineCount) lines, at most \(longestFunction): "
          + "name its steps and make them functions")
    }
  }

  static func functions(in file: SourceFile) -> [FunctionSpan] {
    if file.path.hasSuffix(".swift") {
      SwiftFunctions.all(in: file.code)
    } else if file.path.hasSuffix(".py") {
      PythonFunctions.all(in: file.text)
    } else {
      []
    }
  }
}

/// A function from its keyword to the end of its body; lines count from 1, both ends included.
struct FunctionSpan: Equatable {
  var name: String
  var firstLine: Int
  var lastLine: Int

  var lineCount: Int { lastLine - firstLine + 1 }
}
