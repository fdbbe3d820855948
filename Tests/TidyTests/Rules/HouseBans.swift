/// The list of what is banned where. Needles of text rules are written in two halves, so that this
/// file keeps the rules too.
enum HouseBans {
  /// The one file that asks the machine what time it is.
  static let clockFile = "Sources/Core/Types/Clock.swift"

  static let all: [BannedCall] = failures + output + time + concurrency + access + texts

  static let failures = [
    BannedCall("try!", instead: "let the error pass with `try`, or handle it"),
    BannedCall("as!", instead: "use `as?` and say what was expected (`#require` in tests)"),
    BannedCall(
      "fatalError(", "preconditionFailure(",
      instead: "throw a PlatformError; a platform with one bad request must go on"),
  ]

  static let output = [
    BannedCall(
      "print(", "debugPrint(", "Swift.print(",
      instead: "log with the Logger you were given; only the command line prints",
      where: { !$0.hasPrefix("Sources/martlet/") })
  ]

  static let time = [
    BannedCall(
      "Task.sleep", "sleep(", "usleep(", "nanosleep(",
      instead: "await the event itself, or move the injected test clock",
      where: { $0.hasPrefix("Tests/") }),
    BannedCall("Thread.sleep", instead: "wait on a condition, or take the injected sleep"),
    BannedCall(
      "Date()", "Date.now", "Date(timeIntervalSinceNow",
      instead: "ask the injected WallClock", where: { $0 != clockFile }),
  ]

  static let concurrency = [
    BannedCall(
      "Task {", "Task{", "Task(", "Task.detached",
      instead: "use a task group, or make it a Service in the ServiceGroup",
      where: { $0.hasPrefix("Sources/") && !$0.hasPrefix("Sources/martlet/") }),
    BannedCall("DispatchQueue.main", instead: "nothing runs the main queue in a server"),
  ]

  /// Files whose functions other targets must inline: the compiler does that for `public` ones only
  /// (decision 0016).
  static let inlinedFiles: Set<String> = [
    "Sources/Core/Window/EntityState.swift", "Sources/Core/Window/Partial.swift",
    "Sources/Core/Types/DecimalNumber.swift", "Sources/Core/Types/JSONScanner.swift",
  ]

  static let access = [
    BannedCall(
      "public ", instead: "share across targets with `package`; nothing outside imports us",
      where: { $0.hasPrefix("Sources/") && !inlinedFiles.contains($0) }),
    BannedCall(
      "@testable", instead: "tests see `package` names; release builds know no other"),
  ]

  static let texts = [
    BannedCall(
      "TO" + "DO", "FIX" + "ME", in: .text,
      instead: "do it now, or say in the documentation what is not there"),
    BannedCall(
      "/wo" + "rk/", "/ro" + "ot/", in: .text,
      instead: "a path of one machine; start from the repository or from configuration"),
  ]
}
