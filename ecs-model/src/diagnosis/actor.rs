//! Who acts, and how a stop counts.

words! {
    /// Who can act on a stop. People route by it.
    Actor ("actor") {
        /// Whoever develops the application.
        Application = "application",
        /// Whoever built the image or wrote the task definition.
        Release = "release",
        /// Whoever manages roles and policies.
        Iam = "iam",
        /// Whoever manages routes, endpoints and security groups.
        Network = "network",
        /// Whoever runs clusters, hosts and quotas.
        Platform = "platform",
        /// Whoever called `StopTask`.
        Caller = "caller",
        /// AWS.
        Aws = "aws",
        /// There is nothing to do.
        Nobody = "nobody",
        /// Unknown.
        Unknown = "unknown",
    }
}

words! {
    /// How to count or announce a stop.
    Kind ("kind") {
        /// It was intended: a scale-in, a deployment, a call of `StopTask`, a finished job.
        Expected = "expected",
        /// Its host went away, or AWS was too slow to provide something.
        Interrupted = "interrupted",
        /// It failed.
        Failed = "failed",
    }
}
