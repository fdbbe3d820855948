import Core
import Foundation
import GRPCCore
import TestKit
import Testing
import Wire

extension WholeProgram {
  /// Models and training functions that misbehave: the caller learns what happened, and everything else goes on.
  @Suite(.withTroubledModel) struct WorkerFaultTests {
    /// A customer whose `last_amount` makes the troubled model misbehave in one way.
    private static func customer(_ amount: Int) async throws -> String {
      let answer = try await SharedPlatform.current.rest.push(
        "events",
        ShopProject.event(
          "trouble-\(amount)", customer: 100_000 + amount, amount: Double(amount),
          at: "2026-02-28T23:00:00Z"))
      #expect(answer.status == 200, "\(answer)")
      return #"{"customer_id": \#(100_000 + amount)}"#
    }

    private static func trouble(_ amount: Int) async throws -> Answer {
      try await SharedPlatform.current.rest.predict("troubled", customer(amount))
    }

    /// The other model answers at once; the troubled one when it is asked about somebody else.
    private static func expectOthersWork() async throws {
      let rest = try SharedPlatform.current.rest
      let other = try await rest.predict("steady", #"{"customer_id": 5}"#)
      #expect(other.status == 200, "\(other)")
      var again: Answer?
      try await waitUntil("the troubled model answered again") {
        again = try await rest.predict("troubled", #"{"customer_id": 5}"#)
        return again?.status == 200
      }
      #expect(again?["predictions"]?.array?.first?["value"]?.number == 0.25)
    }

    @Test("a predict that raises is answered with the exception")
    func raises() async throws {
      let answer = try await Self.trouble(991)
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.code == "user_code")
      #expect(answer.error.contains("ValueError: no price for this customer"), "\(answer.error)")
      #expect(answer.error.contains("train.py"), "\(answer.error)")
      try await Self.expectOthersWork()
    }

    @Test("a failed prediction is logged with its error")
    func failureIsLogged() async throws {
      let rest = try SharedPlatform.current.rest
      _ = try await Self.trouble(991)
      try await waitUntil("the failure was logged") {
        try await rest.count(
          "SELECT count(*) FROM model_logs WHERE model_id = 'troubled' AND model_result IS NULL AND contains(model_error, 'no price')"
        ) > 0
      }
    }

    @Test(
      "a predict that never returns is answered at its deadline, and others are served meanwhile")
    func hangs() async throws {
      let rest = try SharedPlatform.current.rest
      let customer = try await Self.customer(992)
      async let hanging = rest.predict("troubled", customer)
      let steady = try await rest.predict("steady", #"{"customer_id": 5}"#)
      #expect(steady.status == 200, "\(steady)")
      let answer = try await hanging
      #expect(answer.status == 504, "\(answer)")
      #expect(answer.code == "deadline_exceeded")
      #expect(answer.error.contains("troubled"), "\(answer.error)")
      try await Self.expectOthersWork()
    }

    @Test("a prediction takes no longer than its caller allows, over REST and over gRPC")
    func callersDeadline() async throws {
      let platform = try SharedPlatform.current
      let customer = try await Self.customer(997)
      func predict(_ timeout: String) async throws -> Answer {
        try await platform.rest.post(
          "/api/v1/models/troubled/predict", #"{"rows": [\#(customer)], "timeout_ms": \#(timeout)}"#
        )
      }
      let answer = try await predict("200")
      #expect(answer.status == 504, "\(answer)")
      #expect(answer.error.contains("within the 200ms it was given"), "\(answer.error)")
      for wrong in ["0", "-1", "\"long\"", "1.5"] {
        let refused = try await predict(wrong)
        #expect(refused.status == 400 && refused.error.contains("'timeout_ms'"), "\(refused)")
      }
      let error = try await platform.withGRPC { client in
        try await grpcError {
          var request = Martlet_V1_PredictRequest()
          request.model = "troubled"
          request.requestID = "impatient"
          request.rows = [wireRow(["customer_id": 100_997])]
          var options = CallOptions.defaults
          options.timeout = .milliseconds(200)
          _ = try await client.serving.predict(request, options: options)
        }
      }
      #expect(error?.code == .deadlineExceeded, "\(error as Any)")
      try await waitUntil("the platform gave up, too") {
        try await platform.rest.count(
          "SELECT count(*) FROM model_logs WHERE request_id = 'impatient' AND contains(model_error, 'was not ready within the')"
        ) == 1
      }
      try await Self.expectOthersWork()
    }

    @Test("a prediction that no version can answer is logged, without a version")
    func failureWithoutVersion() async throws {
      let rest = try SharedPlatform.current.rest
      let answer = try await rest.predict("doomed", #"{"customer_id": 5}"#)
      #expect(answer.status == 412, "\(answer)")
      try await waitUntil("the failure was logged") {
        try await rest.count(
          "SELECT count(*) FROM model_logs WHERE model_id = 'doomed' AND model_version IS NULL AND contains(model_error, 'no version in production')"
        ) == 1
      }
      let misspelt = try await rest.predict("steady", #"{"custmer_id": 5}"#)
      #expect(misspelt.status == 400, "\(misspelt)")
      #expect(misspelt.error.contains("did you mean 'customer_id'?"), "\(misspelt)")
      try await waitUntil("the misspelt key was logged") {
        try await rest.count(
          "SELECT count(*) FROM model_logs WHERE model_id = 'steady' AND contains(model_error, 'custmer_id')"
        ) == 1
      }
    }

    @Test("a predict that ends its process is answered after one retry, and the worker is replaced")
    func exits() async throws {
      let answer = try await Self.trouble(993)
      #expect(answer.status == 503, "\(answer)")
      #expect(answer.code == "unavailable")
      #expect(answer.error.contains("worker"), "\(answer.error)")
      try await Self.expectOthersWork()
    }

    @Test("what a model prints goes to the log and not into its answer")
    func prints() async throws {
      let answer = try await Self.trouble(994)
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["predictions"]?.array?.first?["value"]?.number == 0.25)
      let platform = try SharedPlatform.current
      try await waitUntil("the printed line was in the log") {
        platform.log.contains("the model speaks on standard output")
      }
    }

    @Test("a predict that answers the wrong shape is answered with both shapes")
    func wrongShape() async throws {
      let answer = try await Self.trouble(995)
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.code == "user_code")
      #expect(answer.error.contains("(1, 3)") && answer.error.contains("(1,)"), "\(answer.error)")
      try await Self.expectOthersWork()
    }

    @Test("a predict that calls sys.exit is answered with what to do instead")
    func systemExit() async throws {
      let answer = try await Self.trouble(996)
      #expect(answer.status == 422, "\(answer)")
      #expect(answer.error.contains("sys.exit"), "\(answer.error)")
      try await Self.expectOthersWork()
    }

    @Test("a training function that raises fails the job with the traceback's last line, at once")
    func trainingRaises() async throws {
      let rest = try SharedPlatform.current.rest
      let job = try await rest.train("doomed")
      #expect(job["state"]?.string == "FAILED", "\(job.text)")
      #expect(
        job["error"]?.string?.contains("RuntimeError: the labels look wrong") == true, "\(job.text)"
      )
      #expect(job["attempt"]?.int == 1, "the same code would fail again: \(job.text)")
      let versions = try await rest.okGet("/api/v1/models/doomed")["versions"]
      #expect(versions == .array([]))
      try await Self.expectOthersWork()
    }

    @Test("a training function that lacks a library fails with its name")
    func missingLibrary() async throws {
      let job = try await SharedPlatform.current.rest.train("bookish")
      #expect(job["state"]?.string == "FAILED", "\(job.text)")
      #expect(job["error"]?.string?.contains("no_such_library_anywhere") == true, "\(job.text)")
    }
  }
}

extension Trait where Self == SharedPlatform {
  /// `steady` and `troubled` serve; `doomed` and `bookish` cannot be trained.
  static var withTroubledModel: SharedPlatform {
    SharedPlatform(
      models: [
        ShopProject.model("steady", "constant"), ShopProject.model("troubled", "troubled"),
        ShopProject.model("doomed", "failing"), ShopProject.model("bookish", "missing_module"),
      ]
    ) { platform in
      try await ShopProject.feed(platform.rest)
      for model in ["steady", "troubled"] {
        let job = try await platform.rest.train(model)
        guard job["state"]?.string == "COMPLETED" else {
          throw Disappointment(
            "\(model) was not trained: \(job.text)\n\(platform.log.suffix(4_000))")
        }
        try await platform.rest.promote(model, 1)
      }
    }
  }
}
