"""Models of users, each trained by the genetic algorithm, by GEMONN and by gradient descent."""
